"""What a step learns from: scored groups, and other prompts in place of those without signal.

Dynamic sampling of DAPO (arXiv 2503.14476, equation 11): a group that is right throughout or wrong throughout says
nothing about the answer, so another prompt takes its slot, for up to `Algorithm.extra_rounds` further rounds.  Which
prompt is a function of the recipe, the step, the round and the slot (`sbr.train.order.spare_slot`): a resumed run asks
the same again, and every process refills its own slots without a word to the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sbr.train.order import Slot
from sbr.types import RolloutGroup, Sample, Score


@dataclass(frozen=True, slots=True, eq=False)
class ScoredGroup:
    """One prompt with its G completions and their scores."""

    slot: Slot[Sample]
    group: RolloutGroup
    scores_G: tuple[Score, ...]

    @property
    def silent(self) -> bool:
        """All completions right, or none.  Lengths and formats that differ are no signal here, as in the paper."""
        return len({scored.answer.letter == scored.rewarded for scored in self.scores_G}) == 1


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    batch: tuple[ScoredGroup, ...]
    """One group a slot, in slot order: what is learned from."""
    replaced: tuple[ScoredGroup, ...] = ()
    """Groups without signal whose slot went to another prompt."""


def refill(
    first: Sequence[ScoredGroup],
    ask: Callable[[Sequence[Slot[Sample]]], Sequence[ScoredGroup]],
    spare: Callable[[int, int], Slot[Sample]],
    extra_rounds: int,
) -> Collected:
    """Ask `spare(slot index, round)` for every slot of `first` without signal, round after round.

    A slot that is still without signal after the last round keeps its last group; `Collected.batch` is always full.
    """
    batch, replaced = list(first), []
    for number in range(1, extra_rounds + 1):
        silent = [place for place, found in enumerate(batch) if found.silent]
        if not silent:
            break
        fresh = ask([spare(batch[place].slot.index, number) for place in silent])
        for place, found in zip(silent, fresh, strict=True):
            replaced.append(batch[place])
            batch[place] = found
    return Collected(tuple(batch), tuple(replaced))
