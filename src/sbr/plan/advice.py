"""What to change in a run that does not fit: first what gives the same result, then what does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sbr.config.load import override
from sbr.config.recipes import GrpoRecipe, TrainRecipe
from sbr.errors import ConfigError
from sbr.plan.plan import Plan, Rates, make_plan, state_bytes
from sbr.plan.stand_in import Cluster

MOST_GPUS = 64


def advise(recipe: TrainRecipe, plan: Plan, rates: Rates) -> Plan | None:
    """The first of some changed runs that fits, or None.  Runs whose state alone is too much are not tried."""
    for words, cluster in _changes(recipe, plan):
        try:
            changed = override(recipe, words, "sbr plan") if words else recipe
            if state_bytes(changed, cluster) > plan.usable:
                continue
            shown = (*words, *(("--gpus", str(cluster.gpus)) if cluster.gpus != plan.cluster.gpus else ()))
            found = make_plan(changed, cluster, plan.assumed, rates, shown)
        except ConfigError:
            continue  # what does not go together, or is not installed
        if found.fits:
            return found
    return None


def _changes(recipe: TrainRecipe, plan: Plan) -> Iterator[tuple[tuple[str, ...], Cluster]]:
    """Words of the command line, each time more of them, and GPUs."""
    cluster, train, words = plan.cluster, recipe.train, ()
    same: list[tuple[bool, tuple[str, ...]]] = [
        (cluster.gpus > 1 and plan.cost.mode == "none", ("--train.sharding", "full")),
        (train.prompts_per_microbatch > 1, ("--train.prompts_per_microbatch", "1")),
        (not recipe.model.gradient_checkpointing, ("--model.gradient_checkpointing",)),
        *((_can_cut(recipe, plan, rows), ("--train.completions_per_microbatch", str(rows))) for rows in (2, 1)),
    ]
    for useful, more in same:
        if useful:
            words = (*words, *more)
            yield words, cluster
    if recipe.lora is None and cluster.gpus == 1 and train.weights == "float32":
        yield (*words, "--train.optimizer", "adamw_8bit", "--train.weights", "bfloat16"), cluster
    gpus = 2 * cluster.gpus
    while cluster.gpus > 1 and gpus <= MOST_GPUS and train.prompts_per_step % gpus == 0:
        yield words, replace(cluster, gpus=gpus)
        gpus *= 2
    if recipe.lora is None:
        plain = () if train.optimizer == "adamw" else ("--train.optimizer", "adamw", "--train.weights", "float32")
        yield (*words, *plain, "--lora.rank", "64", "--model.no-train_vision"), cluster


def _can_cut(recipe: TrainRecipe, plan: Plan, rows: int) -> bool:
    """Whether the passes of the recipe hold more than `rows` completions and may hold fewer."""
    held = recipe.train.completions_per_microbatch or plan.assumed.responses
    return isinstance(recipe, GrpoRecipe) and held > rows
