"""Output folders that belong to others, are damaged, cannot be written, or are written by somebody else right now."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from cases import Case
from full_disk import full_disk
from house import Place

from sbr.resume.lock import locked

L1 = "data/annotations/validation_L1.jsonl"
STATE = "out/checkpoint-1/training_state"
VERBS = ("grpo", "distill", "eval")


def into(verb: str, out: str, prepare: Callable[[Place], object] = lambda _: None, *flags: str):
    """The ordinary recipe of `verb` with another output folder."""

    def make(place: Place) -> list[str]:
        recipe = place.recipe(verb, output_dir=out)
        prepare(place)
        return [verb, str(recipe), *flags]

    return make


def everywhere(name: str, out: str, prepare: Callable[[Place], object], *expected: str) -> list[Case]:
    return [Case(f"{verb}: {name}", into(verb, out, prepare), expected) for verb in VERBS]


def again(verb: str, name: str, damage: Callable[[Place], object], *expected: str, flags: tuple[str, ...] = ()) -> Case:
    """The finished folder of `verb`, damaged, and the same command once more."""

    def prepare(place: Place) -> None:
        place.copy(verb, "out")
        damage(place)

    return Case(f"{verb}: {name}", into(verb, "out", prepare, *flags), expected)


def resumed(name: str, damage: Callable[[Place], object], *expected: str) -> Case:
    """A run that was killed after its first checkpoint, then damaged."""

    def killed(place: Place) -> None:
        for folder in ("final", "checkpoint-2"):
            shutil.rmtree(place.path / "out" / folder)
        damage(place)

    return again("grpo", f"--resume, {name}", killed, *expected, flags=("--resume",))


def somebody_writes() -> AbstractContextManager[None]:
    """Another run holds the folder; flock tells two descriptors of one process apart as well."""
    return locked(Path("out"))


def cut(file: str) -> Callable[[Place], object]:
    return lambda place: place.write(file, (place.path / file).read_bytes()[:20])


def garbage(file: str) -> Callable[[Place], object]:
    """A first line that is none, before those that are."""
    return lambda place: place.write(file, b"{\xff]\n" + (place.path / file).read_bytes())


CASES: tuple[Case, ...] = (
    *everywhere("out is a file", "out", lambda p: p.write("out", "mine"), "out is a file"),
    *everywhere("out below a file", "a/out", lambda p: p.write("a", "mine"), "a"),
    *everywhere("out in /proc", "/proc/x", lambda _: None, "/proc/x"),
    *everywhere("out is a loop", "out", lambda p: p.link("out", "out"), "out"),
    *everywhere("out with a long name", "x" * 300, lambda _: None, "File name too long"),
    *everywhere("out is the data root", "data", lambda p: p.copy("data"), "data"),
    *everywhere("out is the model", "model", lambda p: p.copy("model"), "model"),
    *everywhere("out is a folder of notes", "out", lambda p: p.write("out/notes.txt", "mine"), "notes.txt"),
    Case("eval: out is a training run", into("eval", "out", lambda p: p.copy("grpo", "out")), ("out", "another run")),
    Case("distill: out is an evaluation", into("distill", "out", lambda p: p.copy("eval", "out")), ("another run",)),
    Case("grpo: out is an evaluation", into("grpo", "out", lambda p: p.copy("eval", "out")), ("out",)),
    Case("grpo: out holds a run", into("grpo", "out", lambda p: p.copy("grpo", "out")), ("already holds a run",)),
    again("eval", "other settings", lambda p: p.edit("eval.toml", "max_frames = 4", "max_frames = 5"), "max_frames"),
    again("eval", "recipe.json is a list", lambda p: p.write("out/recipe.json", "[]"), "out/recipe.json"),
    again("eval", "recipe.json is cut", cut("out/recipe.json"), "out/recipe.json"),
    again("eval", "recipe.json without end", lambda p: p.write("out/recipe.json", "[" * 99_999), "out/recipe.json"),
    again("eval", "inputs.json is a list", lambda p: p.write("out/inputs.json", "[]"), "out/inputs.json"),
    again("eval", "inputs.json is gone", lambda p: (p.path / "out/inputs.json").unlink(), "inputs.json"),
    again("eval", "garbage among the records", lambda p: p.write("out/records.jsonl", "{]\n"), "out/records.jsonl:1"),
    again("eval", "other weights", lambda p: p.write("model/generation_config.json", "{}"), "generation_config.json"),
    again(
        "eval", "other questions", lambda p: p.edit("data/annotations/validation_L1.jsonl", "?", "!?"), "has changed"
    ),
    again("distill", "recipe.json is a list", lambda p: p.write("out/recipe.json", "[]"), "out/recipe.json"),
    again("distill", "garbage in samples", lambda p: p.write("out/samples.jsonl", "{]\n"), "out/samples.jsonl:1"),
    resumed("nothing there", lambda p: (p.path / "out").rename(p.path / "o"), "out"),
    resumed("no checkpoint", lambda p: shutil.rmtree(p.path / "out/checkpoint-1"), "out"),
    resumed("recipe.json is a list", lambda p: p.write("out/recipe.json", "[]"), "out/recipe.json"),
    resumed("recipe.json is cut", cut("out/recipe.json"), "out/recipe.json"),
    resumed("recipe.json is gone", lambda p: (p.path / "out/recipe.json").unlink(), "recipe.json"),
    resumed("inputs.json is a list", lambda p: p.write("out/inputs.json", "[]"), "out/inputs.json"),
    resumed("other rows", lambda p: p.edit("data/annotations/training_6k.jsonl", "?", "!?"), "has changed"),
    resumed("no training state", lambda p: shutil.rmtree(p.path / STATE), "training_state"),
    resumed("state.json is empty", lambda p: p.write(f"{STATE}/state.json", "{}"), "out/checkpoint-1"),
    resumed("state.json nested without end", lambda p: p.write(f"{STATE}/state.json", "[" * 200_000), "state.json"),
    resumed(
        "moments are empty",
        lambda p: p.write(f"{STATE}/tensors/shard-00001-model-00001-of-00001.safetensors", b""),
        "out/checkpoint-1/training_state/tensors is damaged",
    ),
    resumed("garbage in metrics", garbage("out/metrics.jsonl"), "out/metrics.jsonl"),
    resumed("garbage in completions", garbage("out/completions.jsonl"), "out/completions.jsonl"),
    resumed("another recipe", lambda p: p.edit("grpo.toml", "group_size = 2", "group_size = 3"), "group_size"),
    *(
        Case(
            f"{verb}: another run writes there",
            into(verb, "out"),
            ("out", "written by"),
            around=somebody_writes,
            may_change=("out",),
        )
        for verb in VERBS
    ),
    *(
        Case(
            f"{verb}: disk full",
            into(verb, "out"),
            ("File too large",),
            around=full_disk,
            may_change=("out",),
        )
        for verb in VERBS
    ),
)
