"""What a way of training is to the loop around it (`sbr.train.run`): a `Learner`, and what goes in and out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from sbr.algo.algorithm import Algorithm
from sbr.config.inputs import ModelConfig
from sbr.config.recipes import TrainRecipe
from sbr.frames.cache import FrameCache
from sbr.prompt.encode import PromptEncoder
from sbr.train.guarded import Guarded
from sbr.train.order import Identified, Slot
from sbr.train.stopwatch import Stopwatch
from sbr.train.trainer import Trainer
from sbr.train.validation import Seen, Validation
from sbr.types import Frames, Shown


class Metrics(Protocol):
    """One line of metrics.jsonl; a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def step(self) -> int: ...

    def words(self) -> str:
        """The figures to watch, e.g. "loss 0.412"."""
        ...


class TrainingQuestion(Identified, Shown, Protocol):
    """A Sample, or a question of a CoT file."""


def level_words(accuracy: Mapping[str, float]) -> str:
    """
    >>> level_words({"L1": 0.83, "L3": 0.5})
    '  L1 83.0 %  L3 50.0 %'
    """
    return "".join(f"  {level} {100 * value:.1f} %" for level, value in accuracy.items())


QuestionT = TypeVar("QuestionT", bound=TrainingQuestion)
PartT = TypeVar("PartT")
MetricsT = TypeVar("MetricsT", bound=Metrics, covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class Share(Generic[QuestionT]):
    """One process's part of a step."""

    step: int
    slots: tuple[Slot[QuestionT], ...]
    frames: list[Frames]
    """Of the slots, in order."""
    clock: Stopwatch
    """For the stages of the step; "frames" and "step" are taken already."""
    following: Callable[[], Share[QuestionT] | None] = lambda: None
    """The share of the next step, early; None after the last one."""


@dataclass(frozen=True, slots=True)
class Done:
    """What is known of a step whatever it did."""

    step: int
    epoch: float
    """Epochs done after this step."""
    learning_rate: float
    seconds: Mapping[str, float]
    """By stage, of the slowest process; "step" is all of it but looking and saving."""
    seen: Seen
    guard: Mapping[str, float] = field(default_factory=dict[str, float])
    """Figures of the guard (`sbr.train.guarded`); empty when it has not looked."""


class Learner(Protocol[QuestionT, PartT, MetricsT]):
    """What is particular about a way of training; an optimizer step and its figures."""

    def take_step(self, share: Share[QuestionT]) -> PartT:
        """Learn from this process's share; return its part of the metrics.  All processes call it at the same time."""
        ...

    def join(self, done: Done, parts: Sequence[PartT]) -> MetricsT:
        """The metrics of a step out of the parts of all processes.  On the main process, which may also warn and keep
        journals of its own."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What a `Learner` works with."""

    trainer: Trainer
    encoder: PromptEncoder
    load: Callable[[Shown], Frames]
    """Decodes, or reads from the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Course(Generic[QuestionT, PartT, MetricsT]):
    """A run: what is learned, from what, and how."""

    name: str
    """For whoever watches, e.g. "GRPO"."""
    recipe: TrainRecipe
    start: ModelConfig
    """`recipe.model`, or what a cold start has made of it."""
    questions: Sequence[QuestionT]
    cache: FrameCache | None
    validation: Validation
    algorithm: Algorithm | None
    """Says what the policy is compared with; None in SFT."""
    temperature: float
    """Of the policy that is trained (`sbr.train.trainer.Policy`)."""
    twin: bool | None
    """`rollout.twin`"""
    make_learner: Callable[[Bench], Learner[QuestionT, PartT, MetricsT]]
    guarded: Guarded | None = None
    """What may warn of the run, or stop it."""


class Watcher(Protocol):
    """Whoever wants to see progress, e.g. the progress bar of the command line.  Called on the main process only."""

    def began(self, name: str, done: int, total: int) -> None:
        """Training starts after `done` of `total` steps."""

    def stepped(self, metrics: Metrics) -> None:
        """A step is done and written down."""

    def took(self, recipe: TrainRecipe, processes: int, taken: int) -> None:
        """On GPUs, after every step of `recipe`: the most bytes that one of the processes has had allocated."""
