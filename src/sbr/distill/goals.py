"""Task goals of stretches of video, asked of a language model behind an OpenAI-compatible endpoint.

Every answer is on the disk before it counts, so the same call again asks only for what is missing, and opens no
endpoint when nothing is.  What is asked and how answers are read: sbr.data.build.goals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from sbr.config.asking import EngineConfig
from sbr.data.build.actions import Annotations
from sbr.data.build.goals import GoalAnswer, GoalSegment, Messages, Stretch, goals_of, stretches, write_goals
from sbr.files import replace_file
from sbr.resume.journal import Journal, LineFormat
from sbr.rollout.chat_client import ChatClient
from sbr.rollout.sampling import Sampling

ANSWERS = "goal_answers.jsonl"
GOALS = "goals.jsonl"

Progress = Callable[[int, int], None]
"""Called with (stretches answered now, stretches to ask for)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalAsking:
    """Who is asked, and for what."""

    url: str
    model: str
    window: int = 40
    """Actions of a stretch, at most."""
    tokens: int = 4096
    """Longest answer."""
    concurrency: int = 8
    seed: int = 0


@dataclass(frozen=True, slots=True)
class InferredGoals:
    segments: tuple[GoalSegment, ...]
    counts: Mapping[str, int]
    """Stretches and what became of their answers, by name."""
    asked: int
    """Stretches asked about now."""
    cut_off: int
    """Answers among these that reached the token limit; they are not kept, and another call asks again."""


def infer_goals(
    root: Path, annotations: Annotations, asking: GoalAsking, on_progress: Progress = lambda done, total: None
) -> InferredGoals:
    """Goals of all stretches; asks for those that <root>/goal_answers.jsonl does not hold yet, and writes goals.jsonl.

    Raises EndpointError when the server cannot be reached or fails; what it answered before is kept.
    """
    all_stretches = list(stretches(annotations, asking.window))
    cut_off = 0
    with goal_journal(root / ANSWERS) as journal:
        to_ask = [stretch for stretch in all_stretches if stretch.key(asking.model) not in journal.done]
        if to_ask:
            config = EngineConfig(kind="endpoint", url=asking.url, concurrency=asking.concurrency)
            sampling = Sampling(temperature=0.0, max_new_tokens=asking.tokens)
            with ChatClient(config, asking.model) as chat:

                def ask(messages: Messages) -> str | None:
                    reply = chat.complete(messages, sampling, asking.seed)
                    return None if reply.truncated else reply.text

                cut_off = ask_all(to_ask, asking.model, ask, journal, asking.concurrency, on_progress)
        segments, counts = goals_of(all_stretches, journal.done, asking.model)
    replace_file(root / GOALS, write_goals(segments))
    return InferredGoals(tuple(segments), counts, len(to_ask), cut_off)


def goal_journal(file: Path) -> Journal[str, GoalAnswer]:
    """The answers that are kept, and where further ones go."""
    return Journal(file, LineFormat(GoalAnswer, lambda answer: answer.stretch, lambda key: f"stretch {key}"))


def ask_all(
    to_ask: Sequence[Stretch],
    model: str,
    ask: Callable[[Messages], str | None],
    journal: Journal[str, GoalAnswer],
    concurrency: int,
    on_progress: Progress = lambda done, total: None,
) -> int:
    """Ask for every stretch, `concurrency` at a time; each answer is on the disk before it counts.

    `ask` gives None for an answer that was cut off; it is not kept.  Returns their number.

    An error of `ask` ends it after the requests under way: what they answered is kept.
    """
    done = cut_off = 0
    failure: BaseException | None = None
    with ThreadPoolExecutor(concurrency) as pool:
        waiting: dict[Future[str | None], Stretch] = {pool.submit(ask, s.messages()): s for s in to_ask}
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                stretch = waiting.pop(future)
                if future.cancelled():
                    continue
                if error := future.exception():
                    failure = failure or error
                    for other in waiting:
                        other.cancel()
                    continue
                answer = future.result()
                if answer is None:
                    cut_off += 1
                else:
                    text = answer.encode("utf-8", "replace").decode()  # half a surrogate pair has no bytes
                    journal.append([GoalAnswer(stretch.key(model), stretch.video_id, text)])
                done += 1
                on_progress(done, len(to_ask))
    if failure is not None:
        raise failure
    return cut_off
