"""Section `algo`: one class an algorithm, whose defaults are its vetted setting (sources: docs/algorithms.md).

`algo.name` decides which class a recipe's section is; a key that its algorithm does not use is an error.  A new
algorithm is a class here with its keys, a line in `AlgoConfig`, and the file that `made_by` names.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Discriminator, Field, Tag

from sbr.config.named import Named
from sbr.config.section import Count, Plain, Rate, Section, Share, SharePart

Positive = Annotated[float, Field(ge=0, le=1000)]
Epsilon = Annotated[float, Field(ge=1e-10, le=1000)]
"""Not lost in float32, where a group of equal rewards would become 0 / 0."""

ImportanceKind = Literal["none", "token", "completion", "token_mask", "completion_mask"]


class AlgoSection(Section):
    """What every algorithm has.  It is kept when another `--algo.name` is given on the command line."""

    made_by: ClassVar[str]
    """"module:function"; the function takes this section and the most tokens of a completion and returns an
    `sbr.algo.algorithm.Algorithm`."""
    updates_per_rollout: Annotated[int, Field(ge=1, le=1000)] = 1
    """Optimizer updates on the same completions; a training step is one rollout with all its updates."""


class FamilySection(AlgoSection):
    """Algorithms of the package: what they add to correct for a sampler that is not quite the policy."""

    importance: ImportanceKind = "none"
    """Weight of each token, or of each completion, for a sampler whose probabilities are not those of training: their
    ratio, cut at importance_cap, or (mask) 0 where it is above.  The native sampler needs none."""
    importance_cap: Annotated[float, Field(gt=0, le=1e6)] = 3.0
    """Largest importance weight."""


class ClippedSection(FamilySection):
    clip_low: Share = 0.2
    """The ratio of policies counts down to 1 - clip_low."""
    clip_high: Positive = 0.2
    """... and up to 1 + clip_high."""


class GrpoAlgo(ClippedSection):
    """GRPO with the official setting of SEED-Bench-R1 (arXiv 2402.03300, 2503.24376)."""

    made_by = "sbr.algo.grpo:grpo"
    name: Literal["grpo"] = "grpo"
    """The algorithm; another one has keys of its own."""
    beta: Positive = 0.1
    """Weight of the KL term; 0 loads no reference model."""
    advantage_eps: Epsilon = 1e-4
    """Added to the standard deviation that rewards are divided by."""


class DrGrpoAlgo(ClippedSection):
    """Dr. GRPO (arXiv 2503.20783)."""

    made_by = "sbr.algo.dr_grpo:dr_grpo"
    name: Literal["dr_grpo"] = "dr_grpo"
    """The algorithm; another one has keys of its own."""
    beta: Positive = 0.0
    """Weight of the KL term; 0 loads no reference model."""


class DapoAlgo(ClippedSection):
    """DAPO (arXiv 2503.14476)."""

    made_by = "sbr.algo.dapo:dapo"
    name: Literal["dapo"] = "dapo"
    """The algorithm; another one has keys of its own."""
    clip_high: Positive = 0.28
    """... and up to 1 + clip_high."""
    advantage_eps: Epsilon = 1e-4
    """Added to the standard deviation that rewards are divided by."""
    extra_rounds: Annotated[int, Field(ge=0, le=1000)] = 9
    """Rollout rounds in which other prompts take the place of groups without signal, at most."""
    overlong_weight: Positive = 0.5
    """Weight of the soft overlong punishment, beside that of reward.length_weight (DAPO's right and wrong answers are
    worth +1 and -1, here 1 and 0, so half its weight gives the same advantages)."""


class GspoAlgo(ClippedSection):
    """GSPO (arXiv 2507.18071)."""

    made_by = "sbr.algo.gspo:gspo"
    name: Literal["gspo"] = "gspo"
    """The algorithm; another one has keys of its own."""
    clip_low: Share = 3e-4
    """The ratio of a whole completion counts down to 1 - clip_low."""
    clip_high: Positive = 4e-4
    """... and up to 1 + clip_high."""
    beta: Positive = 0.0
    """Weight of the KL term; 0 loads no reference model."""
    advantage_eps: Epsilon = 1e-4
    """Added to the standard deviation that rewards are divided by."""


class RegGrpoAlgo(FamilySection):
    """Reg-GRPO (arXiv 2506.07464)."""

    made_by = "sbr.algo.reg_grpo:reg_grpo"
    name: Literal["reg_grpo"] = "reg_grpo"
    """The algorithm; another one has keys of its own."""
    beta: Positive = 0.1
    """Weight of the KL term; 0 loads no reference model."""
    advantage_eps: Epsilon = 1e-4
    """Added to the standard deviations that rewards and log ratios are divided by."""


class GrpoCareAlgo(ClippedSection):
    """GRPO-CARE (arXiv 2506.16141)."""

    made_by = "sbr.algo.grpo_care:grpo_care"
    name: Literal["grpo_care"] = "grpo_care"
    """The algorithm; another one has keys of its own."""
    advantage_eps: Epsilon = 1e-4
    """Added to the standard deviation that rewards are divided by."""
    bonus: Positive = 0.5
    """Reward of a right answer that its reasoning makes likely."""
    margin: Share = 0.0
    """How far below the mean of its group's right answers a likelihood may be."""
    likelihood_cap: Rate = 0.95
    """Likelihoods above count as this."""
    ema_decay: SharePart = 0.995
    """Weight of the old average when the reference follows the policy."""
    ema_every: Count = 10
    """Training steps between two such updates."""


class OwnAlgo(AlgoSection):
    """An algorithm of the user's own: `name` is "module:function" (CONTRIBUTING.md, "Add your own").

    The function takes `options` and the most tokens of a completion and returns an `sbr.algo.algorithm.Algorithm`.
    """

    name: Named
    """Function of a module on the Python path or in the current directory."""
    options: Plain = Field(default_factory=dict)
    """Whatever the function wants to know; new ones in a recipe file only."""


def algorithm_of(section: Any) -> str | None:
    """The name of the algorithm that a section, or the table it is read from, is for; "own" for a user's own."""
    name = section.get("name", "grpo") if isinstance(section, dict) else getattr(section, "name", None)
    return "own" if isinstance(name, str) and ":" in name else name


AlgoConfig = Annotated[
    Annotated[GrpoAlgo, Tag("grpo")]
    | Annotated[DrGrpoAlgo, Tag("dr_grpo")]
    | Annotated[DapoAlgo, Tag("dapo")]
    | Annotated[GspoAlgo, Tag("gspo")]
    | Annotated[RegGrpoAlgo, Tag("reg_grpo")]
    | Annotated[GrpoCareAlgo, Tag("grpo_care")]
    | Annotated[OwnAlgo, Tag("own")],
    Discriminator(algorithm_of),
]
"""The section `algo` of a recipe: one of these classes."""

ALGORITHMS: dict[str, type[AlgoSection]] = {
    tag.tag: section for section, tag in map(get_args, get_args(get_args(AlgoConfig)[0])) if tag.tag != "own"
}
"""The algorithms of the package by name."""
