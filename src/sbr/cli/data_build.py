"""`sbr data build SOURCE_FILE --out ROOT`: questions from action annotations."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    from rich.console import Console

    from sbr.data.build.actions import Annotations
    from sbr.data.build.root import BuildReport
    from sbr.distill.goals import InferredGoals


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
    from sbr.cli.console import Terminal
    from sbr.data.build.action_files import read_annotations
    from sbr.data.build.goals import add_goals, read_goals
    from sbr.data.build.root import BuildOptions, claim
    from sbr.data.build.root import build as write
    from sbr.errors import ConfigError

    _refuse_odd_options(args)
    console = Terminal()
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
            goals = _infer(args, annotations, console)
            segments, asked = list(goals.segments), goals.counts
        added = add_goals(annotations, segments)
        annotations, counts = added.annotations, {**asked, **added.counts}
    with console.status("making questions"):
        report = write(args.out, args.files, annotations, counts, options)
    _show(report, console)
    console.print(f"{report.kept:,} questions in {time.monotonic() - started:.1f} s: {args.out}", soft_wrap=True)
    if not _cut(args, console):
        raise SystemExit(1)


def _infer(args: Build, annotations: Annotations, console: Console) -> InferredGoals:
    from sbr.cli.progress import count_progress
    from sbr.distill.goals import GoalAsking, infer_goals

    asking = GoalAsking(
        url=str(args.goal_url),
        model=str(args.goal_model),
        window=args.goal_window,
        tokens=args.goal_tokens,
        concurrency=args.concurrency,
        seed=args.seed,
    )
    with count_progress() as bar:
        task = bar.add_task("asking for goals", total=None)
        goals = infer_goals(
            args.out, annotations, asking, lambda done, total: bar.update(task, completed=done, total=total)
        )
    if goals.cut_off:
        console.print(
            f"{goals.cut_off:,} of {goals.asked:,} answers were cut off at {args.goal_tokens:,} tokens: their "
            "stretches have no goals; the same command with more --goal-tokens asks for them again",
            soft_wrap=True,
        )
    return goals


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
    from sbr.cli.progress import count_progress
    from sbr.data.build.root import MEDIA, read_media
    from sbr.frames.cut import cut_media, find_videos

    if args.videos is None:
        console.print(f"clips and pictures to cut: {args.out / MEDIA} (--videos FOLDER cuts them)", soft_wrap=True)
        return True
    media = read_media(args.out)
    videos = find_videos(args.videos, {medium.video_id for medium in media})
    with count_progress() as bar:
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
            f"{len(report.without_video):,} recordings are not in {args.videos} ({names} ...): "
            f"{sum(report.without_video.values()):,} media are missing",
            soft_wrap=True,
        )
    for name, reason in sorted(report.failed.items())[:20]:
        console.print(f"not cut: {name}: {reason}", style="red", soft_wrap=True)
    if len(report.failed) > 20:
        console.print(f"... and {len(report.failed) - 20:,} more")
    return report.ok


def _show(report: BuildReport, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("", "count", title=f"{report.source}: {', '.join(report.files)}", title_justify="left")

    def section(title: str, counts: Mapping[str, int], always: bool = False) -> None:
        table.add_section()
        table.add_row(Text(title, "bold"), "")
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
