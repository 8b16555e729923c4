"""evaluate(recipe): ask a model every question of the chosen levels (`sbr.rollout.ask`), and sum up."""

from __future__ import annotations

from functools import partial

from sbr.config.asking import EvalConfig
from sbr.config.recipes import EvalRecipe
from sbr.data.sources.select import SOURCES, load_questions
from sbr.errors import ConfigError
from sbr.eval.controls import controlled
from sbr.eval.folder import WORK, with_levels
from sbr.eval.records import LINES, RECORDS, SUMMARY, RecordKey, key_of_answer, record_of
from sbr.eval.summary import Summary, summarize, write_summary
from sbr.resume.journal import Journal
from sbr.resume.processes import ALONE, Processes
from sbr.rollout.ask import Asking, Watcher, ask
from sbr.rollout.sampling import Sampling
from sbr.types import EvalRecord, Sample


def evaluate(recipe: EvalRecipe, watcher: Watcher[EvalRecord] | None = None, processes: Processes = ALONE) -> Summary:
    """Answer what is not yet answered in `recipe.output_dir`, then write summary.json and return its content.

    With several `processes`, each calls this function and answers its share; all return the same.  Raises as
    `sbr.rollout.ask.ask` does, and ConfigError for settings that make no sense together.
    """
    sampling = sampling_of(recipe.eval)
    recipe = with_levels(recipe)
    files = [name for level in recipe.eval.levels for name in SOURCES[recipe.data.source].levels[level]]
    asking: Asking[RecordKey, EvalRecord] = Asking(
        work=WORK,
        section="eval",
        recipe=recipe,
        batches=cut_batches(recipe),
        samples=recipe.eval.samples,
        sampling=sampling,
        seed=recipe.eval.seed,
        inputs={name: recipe.data.root / name for name in files},
        journal=RECORDS,
        lines=LINES,
        key=key_of_answer,
        record=partial(record_of, recipe.eval),
        compiled=recipe.eval.compile,
    )
    return ask(asking, partial(_sum_up, recipe), watcher, processes)


def cut_batches(recipe: EvalRecipe) -> list[list[Sample]]:
    """All questions of the recipe, cut into batches of one level each.  The same for every run of the recipe."""
    batches: list[list[Sample]] = []
    for level in recipe.eval.levels:
        samples = controlled(load_questions(recipe.data, level, recipe.eval.limit), recipe.eval)
        size = recipe.eval.batch_size
        batches += [samples[at : at + size] for at in range(0, len(samples), size)]
    return batches


def sampling_of(config: EvalConfig) -> Sampling:
    """greedy: the most likely token.  paper: temperature 1 over the whole vocabulary (official infer.py)."""
    if config.protocol == "greedy" and config.samples != 1:
        raise ConfigError(
            f"eval.samples is {config.samples}, but the greedy protocol always gives the same answer; "
            "leave samples at 1, or use --protocol paper"
        )
    temperature = 0.0 if config.protocol == "greedy" else 1.0
    return Sampling(temperature=temperature, top_p=1.0, top_k=0, max_new_tokens=config.max_new_tokens)


def _sum_up(recipe: EvalRecipe, journal: Journal[RecordKey, EvalRecord], records: list[EvalRecord]) -> Summary:
    if list(journal.done.values()) != records:
        journal.rewrite(records)
    summary = summarize(records, recipe)
    write_summary(summary, recipe.output_dir / SUMMARY)
    return summary
