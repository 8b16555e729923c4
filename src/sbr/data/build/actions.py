"""What was done in every video, and for which goal: the annotations that questions are built from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from sbr.data.build.meaning import Meaning, is_other_person, is_unsure, same_action
from sbr.errors import DataError


@dataclass(frozen=True, slots=True)
class Action:
    """One narrated action.  Frames as annotated; seconds of the video are None where only frames are known.

    Example: Action("take plate", 1, 113, 0.0, 1.89, (Meaning("0", {"2"}), Meaning("tak", {"plat"}))).
    """

    narration: str
    start_frame: int
    stop_frame: int
    start_seconds: float | None
    stop_seconds: float | None
    meanings: tuple[Meaning, ...]
    """How it reads: by the annotation's classes, if it has them, and by its words."""

    @property
    def order(self) -> tuple[int, int, str]:
        return self.start_frame, self.stop_frame, self.narration

    def same(self, other: Action) -> bool:
        return same_action(self.meanings, other.meanings)


@dataclass(frozen=True, slots=True)
class Task:
    """A goal and all that was done for it, in order of time."""

    video_id: str
    goal: str
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Annotations:
    """What one or several files of one source say."""

    source: str
    """"EpicKitchens" or "Ego4D": the video_source of the rows."""
    actions: Mapping[str, tuple[Action, ...]]
    """Video -> all its actions in order of time, each once."""
    tasks: tuple[Task, ...]
    """Empty for EPIC-KITCHENS, which has no goals (sbr.data.build.goals adds them)."""
    participants: Mapping[str, str]
    """Video -> who wears the camera; the video itself where that is not known."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows, and what is odd about them, by name."""

    @property
    def names_people(self) -> bool:
        """Whether the files say which videos are of the same person."""
        return any(video != participant for video, participant in self.participants.items())


def simultaneous(first: Action, second: Action) -> bool:
    """They begin at the same frame, or overlap for more than half of the shorter one.

    Smaller overlaps are how annotators draw borders: 18 % of neighbours in EPIC_100_validation.csv have one.
    """
    overlap = min(first.stop_frame, second.stop_frame) - max(first.start_frame, second.start_frame)
    shorter = min(first.stop_frame - first.start_frame, second.stop_frame - second.start_frame)
    return first.start_frame == second.start_frame or overlap > shorter / 2


def annotations_of(
    source: str,
    by_video: Mapping[str, Sequence[Action] | dict[Action, None]],
    tasks: tuple[Task, ...],
    participants: Mapping[str, str],
    counts: Counter[str],
) -> Annotations:
    """Annotations with every action in order of time, and what is odd about them counted on top of `counts`.

    Raises DataError if there is no action at all.
    """
    actions = {video: tuple(sorted(by_video[video], key=lambda a: a.order)) for video in sorted(by_video)}
    if not any(actions.values()):
        raise DataError("the annotations hold no action at all")
    counts["videos"] = len(actions)
    counts["participants"] = len(set(participants.values()))
    counts["actions"] = sum(map(len, actions.values()))
    for own in actions.values():
        counts["actions with an empty narration"] += sum(not a.narration for a in own)
        counts["actions without length"] += sum(a.start_frame == a.stop_frame for a in own)
        counts["actions from before the first frame"] += sum(a.start_frame < 0 for a in own)
        counts["actions of another person"] += sum(is_other_person(a.narration) for a in own)
        counts["actions with an unsure narration"] += sum(is_unsure(a.narration) for a in own)
        counts["actions that go on with the one before (continue, still)"] += sum(
            a.narration.casefold().startswith(("continu", "still ", "keeps ")) for a in own
        )
        for a, b in pairwise(own):
            counts["neighbours that overlap"] += b.start_frame < a.stop_frame
            counts["neighbours that happen at the same time"] += simultaneous(a, b)
            counts["neighbours with equal narrations"] += a.narration == b.narration
            counts["neighbours that are the same action"] += a.same(b)
    return Annotations(source, actions, tasks, dict(participants), dict(counts))
