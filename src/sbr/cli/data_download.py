"""`sbr data download RECIPE_OR_SOURCE --root ROOT`: what a recipe needs, from the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import tyro
from pydantic import ConfigDict

from sbr.config.inputs import DataConfig
from sbr.config.load import RecipeT, load_recipe
from sbr.config.recipes import EvalRecipe, GrpoRecipe, SftRecipe
from sbr.config.section import Section
from sbr.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from sbr.config.section import Source
    from sbr.data.hub import MediaPlan
    from sbr.data.sources.source import HubSource
    from sbr.resume.journal import Journal

ARCHIVES_DONE = ".unpacked.jsonl"


@dataclass(frozen=True)
class Download:
    """Fetch the annotation files of a recipe or a source, then the media that their rows name.

    Interrupted downloads go on where they stopped.  HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are obeyed.

    Exit status 0: everything is there; 1: media that rows name are on no page of the repository; 2: bad input, no
    network, or a licence that was not accepted.

    Examples:
      sbr data download seed_bench_r1 --root data/SEED-Bench-R1 --dry-run
      sbr data download seed_bench_r1 --root data/SEED-Bench-R1 --levels L2 --accept-licences
      sbr data download recipes/qwen2vl_7b/grpo.toml --root data/SEED-Bench-R1 --accept-licences
      sbr data download egoplan2 --root data/EgoPlan2 --annotations-only --accept-licences
    """

    what: tyro.conf.Positional[str]
    """A recipe (.toml): its data.source and, for evaluation, its levels; for GRPO data.train_file, for SFT
    data.cot_file, for GRPO with a cold start both, and the levels of its validation.  Files named with a "/" are your
    own and are not fetched.  Or a source: seed_bench_r1, egoplan2, longvideobench."""
    root: Path
    """Folder to fill."""
    levels: tuple[str, ...] = ()
    """Of a source: "train", "cot", "L1", "L2", "L3" or "val"; the default is all it has."""
    annotations_only: bool = False
    """No media."""
    dry_run: bool = False
    """Fetch the annotation files and say what the media would take; fetch no media."""
    accept_licences: bool = False
    """You have read and accept the licences that are shown.  Needed for everything but --dry-run."""
    keep_archives: bool = False
    """Do not delete archives after unpacking them."""


class DataRecipe(Section):
    """`sbr data download RECIPE`"""

    model_config = ConfigDict(extra="ignore", frozen=True)  # a recipe of any kind: its other sections do not matter

    data: DataConfig


def download(args: Download) -> None:
    """Raises SystemExit(1) when media are missing in the repository."""
    from sbr.cli.console import Terminal

    console = Terminal()
    source, files = _wanted(args)
    for licence in source.licences:
        console.print(f"licence - {licence}", soft_wrap=True)
    if not args.accept_licences and not args.dry_run:
        raise ConfigError("nothing was fetched: read the licences above, then run again with --accept-licences")
    _refuse_other_roots(args.root, files)
    listing = _list(source)
    if absent := [file for file in files if file not in listing]:
        raise ConfigError(
            f"{source.repository} has no {', '.join(absent)}; it has {', '.join(sorted(listing)[:12])} ..."
        )
    for file in files:
        _fetch(source, file, args.root)
        console.print(f"{args.root / file}", soft_wrap=True)
    if args.annotations_only:
        return
    if source.media:
        console.print(f"media are not fetched: {source.media}", soft_wrap=True)
        return
    if not _media(args, source, [Path(file).name for file in files], listing, console):
        raise SystemExit(1)


def _wanted(args: Download) -> tuple[HubSource, list[str]]:
    """The source, and its annotation files that are needed."""
    from sbr.data.sources.select import SOURCES, choose_levels

    if args.what in SOURCES:
        hub = _hub(args.what)
        known = hub.annotations
        if strange := [level for level in args.levels if level not in known]:
            raise ConfigError(f"{args.what} has no {', '.join(strange)}; it has {', '.join(known)}")
        return hub, [known[level] for level in args.levels or known]
    file = Path(args.what)
    if file.suffix != ".toml":
        raise ConfigError(f"{args.what!r} is neither a recipe (.toml) nor one of {', '.join(SOURCES)}")
    if args.levels:
        raise ConfigError("--levels belongs to a source; a recipe names its own")
    data = load_recipe(DataRecipe, file).data
    hub = _hub(data.source)
    if asks := _as(EvalRecipe, file):
        return hub, [hub.annotations[level] for level in choose_levels(data, asks.eval.levels)]
    # One with nothing but [train] may be of GRPO or of SFT: it gets the files of both.
    sft, grpo = _as(SftRecipe, file), _as(GrpoRecipe, file)
    chats = [sft.validation] if sft else []
    chats += [grpo.cold_start.validation] if grpo and grpo.cold_start else []
    looks = [*chats, grpo.validation] if grpo else chats
    levels = dict.fromkeys(level for look in looks for level in look.levels)
    names = [data.train_file] if grpo or not sft or sft.validation.share else []
    names += [data.cot_file] if chats else []
    folder = Path(SOURCES[data.source].folder)
    files = [(folder / name).as_posix() for name in names if "/" not in name]
    return hub, files + [hub.annotations[level] for level in levels if level in hub.annotations]


def _hub(name: str) -> HubSource:
    from sbr.data.sources.select import SOURCES

    hub = SOURCES[cast("Source", name)].hub
    if isinstance(hub, str):
        raise ConfigError(hub)
    return hub


def _refuse_other_roots(root: Path, files: Sequence[str]) -> None:
    """ConfigError where a download would replace annotation files that came from elsewhere."""
    from sbr.data.build.root import REPORT

    metadata = root / ".cache" / "huggingface" / "download"  # huggingface_hub keeps one for every file it fetched
    own = [REPORT] if (root / REPORT).exists() else []
    own += [file for file in files if (root / file).exists() and not (metadata / f"{file}.metadata").exists()]
    if own:
        raise ConfigError(
            f"{root} holds {', '.join(own)}, which did not come from the hub, and a download would replace its "
            "questions; choose another --root, or move them away"
        )


def _as(kind: type[RecipeT], file: Path) -> RecipeT | None:
    """The recipe, if it is one of this kind."""
    try:
        return load_recipe(kind, file)
    except ConfigError:
        return None


def _media(args: Download, source: HubSource, names: Sequence[str], listing: Sequence[str], console: Console) -> bool:
    from sbr.data.hub import named_media, plan_media, unpack

    missing, there = named_media(args.root, names)
    with _done_archives(args.root) as journal:
        done = {line.archive: frozenset(line.files) for line in journal.done.values()}
        plan = plan_media(missing, there, listing, done)
        _say(plan, console)
        if args.dry_run:
            return True
        for file in plan.files:
            _fetch(source, file, args.root)
        left = set(missing) - set(plan.files)
        for number, archive in enumerate(plan.archives, 1):
            if not left - set(plan.nowhere):
                break
            console.print(f"archive {number} of {len(plan.archives)}: {archive}; {len(left):,} media to find")
            packed = _fetch(source, archive, args.root / ".archives")
            written, names = unpack(packed, left, args.root)
            left -= set(written)
            line = UnpackedArchive(archive, tuple(names))
            if line not in journal.done:
                journal.append([line])
            if not args.keep_archives:
                packed.unlink()
    for medium in sorted(left)[:10]:
        console.print(f"not in {source.repository}: {medium}", style="red", soft_wrap=True)
    console.print(f"{there + len(missing) - len(left):,} media are there, {len(left):,} are missing")
    return not left


def _say(plan: MediaPlan, console: Console) -> None:
    console.print(
        f"media: {len(plan.wanted) + plan.there:,} named by rows, {plan.there:,} there; {len(plan.files):,} to fetch "
        f"as files, {len(plan.wanted) - len(plan.files) - len(plan.nowhere):,} inside {len(plan.archives):,} archives, "
        f"{len(plan.nowhere):,} not in the repository",
        soft_wrap=True,
    )


@dataclass(frozen=True, slots=True)
class UnpackedArchive:
    """A line of .unpacked.jsonl."""

    archive: str
    files: tuple[str, ...] = ()
    """Names of all its files; none in lines of older versions, which do not count."""


def _done_archives(root: Path) -> Journal[UnpackedArchive, UnpackedArchive]:
    from sbr.resume.journal import Journal, LineFormat

    # The whole line is its key: an archive may come again with its files known, or changed; the last line counts.
    lines = LineFormat(UnpackedArchive, lambda line: line, lambda line: f"archive {line.archive}")
    return Journal(root / ARCHIVES_DONE, lines)


def _list(source: HubSource) -> list[str]:
    from huggingface_hub import HfApi

    with _hub_errors(source):
        return sorted(HfApi().list_repo_files(source.repository, repo_type="dataset"))


def _fetch(source: HubSource, file: str, folder: Path) -> Path:
    from huggingface_hub import hf_hub_download

    with _hub_errors(source):
        return Path(hf_hub_download(source.repository, file, repo_type="dataset", local_dir=folder))


@contextmanager
def _hub_errors(source: HubSource) -> Iterator[None]:
    """Every way in which the hub can fail -> one DataError that says what to do."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    from sbr.errors import DataError

    where = f"https://huggingface.co/datasets/{source.repository}"
    # Every error of the library's HTTP client (httpx or httpx2, as its version has it); offline mode is an OSError.
    failures = cast("tuple[type[Exception], ...]", (*HfHubHTTPError.__bases__, OSError))
    try:
        yield
    except GatedRepoError:
        raise DataError(
            f"{where} is gated: accept its conditions there, then `hf auth login` or set HF_TOKEN"
        ) from None
    except HfHubHTTPError as error:
        raise DataError(f"the hub refuses {where}: {str(error).splitlines()[0]}") from None
    except failures as error:
        raise DataError(
            f"{where} cannot be reached, or its files cannot be written ({type(error).__name__}: {error}); check the "
            "network, HF_ENDPOINT, HF_HUB_OFFLINE and the room on the disk, then run the same command again: it goes "
            "on where it stopped"
        ) from None
