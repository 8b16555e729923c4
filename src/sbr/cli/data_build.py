"""`sbr data build SOURCE_FILE --out ROOT`: questions from action annotations."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    from rich.console import Console

    from sbr.data.build.actions import Annotations
    from sbr.data.build.goals import GoalAnswer, GoalSegment, Messages, Stretch
    from sbr.data.build.root import BuildReport
    from sbr.resume.journal import Journal

ANSWERS = "goal_answers.jsonl"
GOALS = "goals.jsonl"


@dataclass(frozen=True)
class Build:
    """Make questions from action annotations: what came before, what is seen, which action came next in the video.

    Reads EPIC-KITCHENS annotations (.csv) and Ego4D-style tasks (.jsonl), each also as .gz.  Writes annotation files in
    the layout of the benchmark, media.jsonl (the clips and pictures to cut) and build_report.json (what was left out,
    and why).  The same input gives the same bytes.

    EPIC-KITCHENS has no task goals: give them with --goals, or let a model infer them (--goal-url, --goal-model; its
    answers are kept, and a build that is run again asks only for what is missing).

    Exit status 0: done; 1: some media could not be cut; 2: bad input.

    Examples:
      sbr data build ego4d_cooking_instances.jsonl.gz --out data/ego4d
      sbr data build EPIC_100_train.csv EPIC_100_validation.csv --out data/epic --goals goals.csv
      sbr data build EPIC_100_train.csv --out data/epic --goal-url http://localhost:8000/v1 --goal-model Qwen/Qwen3-8B
      sbr data build EPIC_100_validation.csv --out data/epic --goals goals.csv --videos EPIC-KITCHENS
    """

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Annotation files of one kind."""
    out: Path
    """Data root to write: a new folder, or one of an earlier build."""
    video_info: Path | None = None
    """EPIC_100_video_info.csv; the default is the one beside the first annotation file."""
    goals: Path | None = None
    """Goals of stretches of video, .csv or .jsonl: video_id, task_goal, start_frame, stop_frame."""
    goal_url: str | None = None
    """OpenAI-compatible endpoint that infers goals, such as http://localhost:8000/v1."""
    goal_model: str | None = None
    """Its model."""
    goal_window: int = 40
    """Actions a model is shown at once, at most."""
    goal_tokens: int = 4096
    """Longest answer in tokens, thoughts included.  One that was cut off is not kept: another run asks again."""
    concurrency: int = 8
    """Requests under way at the same time."""
    l1: float | None = None
    """Share of the training participants' videos that become L1 (default 0.05; 0 where no participants are known)."""
    l2: float = 0.1
    """Share of the participants that become L2."""
    negatives: int = 8
    """Wrong actions of a training row, at most; training draws three of them."""
    empty_progress: bool = False
    """Keep questions before whose answer nothing happened: an image and no video."""
    seed: int = 0
    """Another seed splits and orders differently."""
    videos: Path | None = None
    """Folder of the uncut recordings (<video_id>.mp4, at any depth): cut the clips and pictures out of them."""
    height: int = 288
    """Height in pixels of what is cut; 0 keeps that of the recordings."""
    workers: int = 0
    """Processes that cut; 0: one for every CPU."""


def build(args: Build) -> None:
    """Raises SystemExit(1) when some media could not be cut."""
    from rich.console import Console

    from sbr.data.build.actions import read_annotations
    from sbr.data.build.goals import add_goals, read_goals
    from sbr.data.build.root import BuildOptions, claim
    from sbr.data.build.root import build as write
    from sbr.errors import ConfigError

    _refuse_odd_options(args)
    console = Console()
    started = time.monotonic()
    with console.status("reading annotations"):
        annotations = read_annotations(args.files, args.video_info)
    has_goals = bool(annotations.tasks)
    if has_goals and (args.goals or args.goal_url):
        raise ConfigError("these annotations have goals of their own; leave out --goals and --goal-url")
    if not has_goals and not args.goals and not args.goal_url:
        raise ConfigError(
            f"{annotations.source} annotations have no task goals, and a question asks for the next action of a task. "
            "Give a file of goals (--goals: video_id, task_goal, start_frame, stop_frame), or a model that infers them "
            "from the narrations (--goal-url and --goal-model)"
        )
    options = BuildOptions(
        l1=args.l1 if args.l1 is not None else 0.05 if annotations.names_people else 0.0,
        l2=args.l2,
        negatives=args.negatives,
        empty_progress=args.empty_progress,
        seed=args.seed,
    )
    counts: Mapping[str, int] = {}
    if not has_goals:
        if args.goals:
            segments, asked = read_goals(args.goals), {}
        else:
            claim(args.out)
            segments, asked = infer_goals(args, annotations, console)
        added = add_goals(annotations, segments)
        annotations, counts = added.annotations, {**asked, **added.counts}
    with console.status("making questions"):
        report = write(args.out, args.files, annotations, counts, options)
    _show(report, console)
    console.print(f"{report.kept:,} questions in {time.monotonic() - started:.1f} s: {args.out}", soft_wrap=True)
    if not _cut(args, console):
        raise SystemExit(1)


def infer_goals(args: Build, annotations: Annotations, console: Console) -> tuple[list[GoalSegment], Mapping[str, int]]:
    """Goals of all stretches; asks for those that goal_answers.jsonl does not hold yet, and keeps every answer there.

    The endpoint is not opened when nothing is left to ask.
    """
    from sbr.data.build.goals import goals_of, stretches, write_goals
    from sbr.files import replace_file

    model = str(args.goal_model)
    all_stretches = list(stretches(annotations, args.goal_window))
    with goal_journal(args.out / ANSWERS) as journal:
        to_ask = [stretch for stretch in all_stretches if stretch.key(model) not in journal.done]
        if to_ask:
            _ask_endpoint(args, to_ask, journal, console)
        segments, counts = goals_of(all_stretches, journal.done, model)
    replace_file(args.out / GOALS, write_goals(segments))
    return segments, counts


def goal_journal(file: Path) -> Journal[str, GoalAnswer]:
    """The answers that are kept, and where further ones go."""
    from sbr.data.build.goals import GoalAnswer
    from sbr.resume.journal import Journal, LineFormat

    return Journal(file, LineFormat(GoalAnswer, lambda answer: answer.stretch, lambda key: f"stretch {key}"))


def ask_all(
    to_ask: Sequence[Stretch],
    model: str,
    ask: Callable[[Messages], str | None],
    journal: Journal[str, GoalAnswer],
    concurrency: int,
    on_answer: Callable[[], None] = lambda: None,
) -> int:
    """Ask for every stretch, `concurrency` at a time; each answer is on the disk before it counts.

    `ask` gives None for an answer that was cut off; it is not kept.  Returns their number.

    An error of `ask` ends it after the requests under way: what they answered is kept.
    """
    from sbr.data.build.goals import GoalAnswer

    cut_off = 0
    with ThreadPoolExecutor(concurrency) as pool:
        waiting: dict[Future[str | None], Stretch] = {pool.submit(ask, s.messages()): s for s in to_ask}
        failure: BaseException | None = None
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
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
                on_answer()
        if failure is not None:
            raise failure
    return cut_off


def _ask_endpoint(args: Build, to_ask: Sequence[Stretch], journal: Journal[str, GoalAnswer], console: Console) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from sbr.config.asking import EngineConfig
    from sbr.rollout.chat_client import ChatClient
    from sbr.rollout.sampling import Sampling

    config = EngineConfig(kind="endpoint", url=args.goal_url, concurrency=args.concurrency)
    sampling = Sampling(temperature=0.0, max_new_tokens=args.goal_tokens)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ChatClient(config, str(args.goal_model)) as chat, Progress(*columns, console=console) as bar:
        task = bar.add_task("asking for goals", total=len(to_ask))

        def ask(messages: Messages) -> str | None:
            reply = chat.complete(messages, sampling, args.seed)
            return None if reply.truncated else reply.text

        cut_off = ask_all(to_ask, str(args.goal_model), ask, journal, args.concurrency, lambda: bar.advance(task))
    if cut_off:
        console.print(
            f"[red]{cut_off:,} of {len(to_ask):,} answers were cut off at {args.goal_tokens:,} tokens[/]: their "
            "stretches have no goals; the same command with more --goal-tokens asks for them again",
            soft_wrap=True,
        )


def _refuse_odd_options(args: Build) -> None:
    from sbr.errors import ConfigError

    if not args.files:
        raise ConfigError("give one annotation file or more")
    if (args.goal_url is None) != (args.goal_model is None):
        raise ConfigError("--goal-url and --goal-model belong together: an endpoint and its model")
    if args.goals and args.goal_url:
        raise ConfigError("--goals gives the goals and --goal-url infers them; give one of the two")
    if args.goal_window < 4 or args.goal_tokens < 1 or args.concurrency < 1 or args.workers < 0:
        raise ConfigError("--goal-window is 4 or more, --goal-tokens and --concurrency 1 or more, --workers 0 or more")
    if args.height < 0 or args.height % 2:
        raise ConfigError(f"--height is {args.height}, expected an even number of pixels, or 0")


def _cut(args: Build, console: Console) -> bool:
    """Cut the media, or say where their list is; False if some could not be cut."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from sbr.data.build.root import MEDIA, read_media
    from sbr.frames.cut import cut_media, find_videos

    if args.videos is None:
        console.print(f"clips and pictures to cut: {args.out / MEDIA} (--videos FOLDER cuts them)", soft_wrap=True)
        return True
    media = read_media(args.out)
    videos = find_videos(args.videos, {medium.video_id for medium in media})
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("cutting", total=len(media))
        report = cut_media(
            args.out,
            media,
            videos,
            args.height,
            args.workers or os.cpu_count() or 1,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    console.print(f"{report.made:,} media cut, {report.there:,} were there")
    if report.without_video:
        names = ", ".join(sorted(report.without_video)[:5])
        console.print(
            f"[red]{len(report.without_video):,} recordings are not in {args.videos}[/] ({names} ...): "
            f"{sum(report.without_video.values()):,} media are missing",
            soft_wrap=True,
        )
    for name, reason in sorted(report.failed.items())[:20]:
        console.print(f"[red]not cut:[/] {name}: {reason}", soft_wrap=True, markup=True)
    if len(report.failed) > 20:
        console.print(f"... and {len(report.failed) - 20:,} more")
    return report.ok


def _show(report: BuildReport, console: Console) -> None:
    from rich.table import Table

    table = Table("", "count", title=f"{report.source}: {', '.join(report.files)}", title_justify="left")

    def section(title: str, counts: Mapping[str, int], always: bool = False) -> None:
        table.add_section()
        table.add_row(f"[bold]{title}[/]", "")
        for name, count in counts.items():
            if count or always:
                table.add_row(f"  {name}", f"{count:,}")

    section("read", report.read)
    if report.goals:
        section("goals", report.goals)
    section("actions of tasks", {"tasks": report.tasks, "tried": report.tried, "kept": report.kept}, always=True)
    section("left out", report.dropped)
    section("not offered as wrong actions", report.not_offered)
    section("steps cut at the current observation", {"steps": report.cut_steps})
    for name, split in report.splits.items():
        letters = ", ".join(f"{letter} {count:,}" for letter, count in split.letters.items())
        counts = {"questions": split.questions, "videos": split.videos, "participants": split.participants}
        section(f"{name} {letters}", counts, always=True)
    console.print(table)
