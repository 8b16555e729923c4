"""Numbers that would take all memory or spoil the weights, and files that are no recipes: one message each."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from sbr.config.asking import EvalConfig
from sbr.config.explain import known_keys, sections_in
from sbr.config.inputs import FramesConfig
from sbr.config.load import load_recipe, read_resolved
from sbr.config.recipes import DistillRecipe, EvalRecipe, GrpoRecipe, SftRecipe
from sbr.config.section import Section
from sbr.config.training import LogConfig
from sbr.errors import ConfigError
from sbr.mini.pretrain import PretrainRecipe

MINIMAL = 'output_dir = "runs/x"\n[model]\npath = "sbr:mini"\n[data]\nroot = "data"\n'
RECIPES = (GrpoRecipe, SftRecipe, EvalRecipe, DistillRecipe)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.toml"
    file.write_text(MINIMAL)
    return file


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("train.learning_rate", "inf", "more than 0 and at most 1"),
        ("train.learning_rate", "nan", "more than 0 and at most 1"),
        ("train.learning_rate", "1e300", "more than 0 and at most 1"),
        ("train.max_grad_norm", "inf", "more than 0 and at most"),
        ("train.weight_decay", "-0.1", "at least 0 and at most 1"),
        ("train.seed", "-1", "at least 0 and less than 9223372036854775808"),
        ("train.seed", "100000000000000000000000", "at least 0 and less than 9223372036854775808"),
        ("data.seed", "-5", "at least 0"),
        ("data.limit", "0", "at least 1 and at most 1000000000"),
        ("train.epochs", "100001", "at least 1 and at most 100000"),
        ("train.max_steps", "1000000001", "at least 1 and at most 1000000000"),
        ("train.prompts_per_step", "65537", "at least 1 and at most 65536"),
        ("rollout.temperature", "inf", "at least 0.01 and at most 100"),
        ("rollout.temperature", "1e-30", "at least 0.01 and at most 100"),
        ("rollout.group_size", "100000000", "at least 1 and at most 4096"),
        ("rollout.max_new_tokens", "100000000000", "at least 1 and at most 131072"),
        ("frames.height", "1000000", "at least 28 and at most 8192"),
        ("frames.fps", "1e-320", "at least 0.001 and at most 1000"),
        ("lora.rank", "100000", "at least 1 and at most 8192"),
        ("reward.accuracy_weight", "-inf", "at least -1000 and at most 1000"),
        ("algo.advantage_eps", "1e-300", "at least 1e-10 and at most 1000"),
        ("algo.clip_low", "2.0", "at least 0 and at most 1"),
        ("algo.updates_per_rollout", "1001", "at least 1 and at most 1000"),
        ("algo.importance_cap", "0.0", "more than 0 and at most"),
    ],
)
def test_every_number_has_a_range_in_files_and_words(file: Path, key: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key} is \S+, expected {expected}"):
        load_recipe(GrpoRecipe, file, [f"--{key}={value}"])
    section, _, name = key.partition(".")
    file.write_text(MINIMAL + (f"{name} = {value}\n" if section == "data" else f"[{section}]\n{name} = {value}\n"))
    with pytest.raises(ConfigError, match=rf"{key} is \S+, expected {expected}"):
        load_recipe(GrpoRecipe, file)


def test_a_range_is_told_for_numbers_of_ones_own_rewards_too(file: Path) -> None:
    file.write_text(MINIMAL + '[reward.custom]\n"a:b" = inf\n')
    with pytest.raises(ConfigError, match=r"reward\.custom\.a:b is inf"):
        load_recipe(GrpoRecipe, file)


@pytest.mark.parametrize("kind", [*RECIPES, PretrainRecipe])
def test_no_number_is_without_a_range(kind: type[Section]) -> None:
    def marks(annotation: Any, metadata: Sequence[Any]) -> set[str]:
        found = {name for mark in metadata for name in ("ge", "gt", "le", "lt") if hasattr(mark, name)}
        for mark in getattr(annotation, "__metadata__", ()):
            found |= marks(None, [mark, *getattr(mark, "metadata", ())])
        return found.union(*(marks(part, ()) for part in get_args(annotation)))

    def check(section: type[Section]) -> int:
        numbers = 0
        for name, field in section.model_fields.items():
            kinds = re.findall(r"\b(int|float)\b", str(field.annotation))
            if kinds and not sections_in(field.annotation):
                found = marks(field.annotation, field.metadata)
                assert found & {"ge", "gt"}, f"{section.__name__}.{name} has no least value"
                assert found & {"le", "lt"}, f"{section.__name__}.{name} has no greatest value"
                numbers += 1
            numbers += sum(check(inner) for inner in sections_in(field.annotation))
        return numbers

    assert check(kind) > 10


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        (
            GrpoRecipe,
            ["--frames.height=8192", "--frames.width=8192"],
            r"frames\.max_frames x height x width = 16 x 8192 x",
        ),
        (SftRecipe, ["--frames.max_frames=4096"], r"is 805,306,368 bytes a sample|^$"),
        (
            GrpoRecipe,
            ["--rollout.group_size=4096", "--rollout.max_new_tokens=1025"],
            r"= 1 x 4096 x 1025 is 4,198,400 tok",
        ),
        (GrpoRecipe, ["--train.prompts_per_step=65536", "--rollout.group_size=17"], r"in one step, and the limit is"),
        (
            GrpoRecipe,
            ["--train.prompts_per_microbatch=3000"],
            r"3000 prompts at once with 3,145,728 bytes of frames each",
        ),
        (
            EvalRecipe,
            ["--eval.samples=4096", "--eval.batch_size=5"],
            r"eval\.batch_size x eval\.samples x eval\.max_new_tok",
        ),
        (DistillRecipe, ["--distill.max_new_tokens=131072"], r"= 8 x 8 x 131072 is 8,388,608 tokens in one pass"),
    ],
)
def test_products_are_checked_before_memory_is_taken(
    file: Path, kind: type[Section], words: list[str], message: str
) -> None:
    if kind is SftRecipe:  # at the limit and above it
        load_recipe(kind, file, words)
        words, message = ["--frames.max_frames=4096", "--frames.height=400"], r"the limit is 1,073,741,824; lower one"
    with pytest.raises(ConfigError, match=message):
        load_recipe(kind, file, words)


def test_recipes_of_the_project_and_generous_ones_are_within(file: Path) -> None:
    for recipe, kind in (("grpo", GrpoRecipe), ("sft", SftRecipe), ("distill", DistillRecipe)):
        load_recipe(kind, Path(__file__).parents[3] / "recipes" / "qwen2vl_7b" / f"{recipe}.toml")
    words = ["--rollout.group_size=64", "--rollout.max_new_tokens=8192", "--train.prompts_per_step=512"]
    load_recipe(GrpoRecipe, file, [*words, "--frames.max_frames=768", "--frames.height=448", "--frames.width=448"])
    assert FramesConfig().sample_bytes == 3 * 16 * 256 * 256


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    def refused(name: str, words: str, data: bytes | None = None) -> None:
        file = tmp_path / name
        if data is not None:
            file.write_bytes(data)
        with pytest.raises(ConfigError, match=words):
            load_recipe(GrpoRecipe, file)

    (tmp_path / "itself").symlink_to("itself")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(2**40)  # takes no room
    refused("itself", r"itself cannot be read: Too many levels of symbolic links")
    refused("pipe", r"pipe is no ordinary file")
    refused("folder", r"folder is a folder")
    refused("large", r"large holds more than 1,048,576 bytes")
    refused("x" * 300, r"cannot be read: File name too long")
    refused("/dev/zero", r"/dev/zero is no ordinary file")
    refused("binary", r"no UTF-8 text \(byte 0\)", b"\xff\x00\x01")
    refused("twice", r"not valid TOML: Cannot overwrite a value", MINIMAL.encode() + b"root = 'x'\nroot = 'y'\n")
    refused("deep", r"not valid TOML: lists or tables are too deep", b"a = " + b"[" * 100_000)
    refused("date", r"not valid TOML", b"a = 2020-02-31T25:00:00\n")
    refused("digits", r"not valid TOML: .*digits", b"a = " + b"9" * 5000)
    refused(
        "hexadecimal", r"train.seed is a int too long to show", MINIMAL.encode() + b"[train]\nseed = 0x" + b"f" * 9999
    )
    refused("nul", r"model.path is .*control character", MINIMAL.replace("sbr:mini", r"a\u0000b").encode())
    refused("escape", r"output_dir is .*control character", MINIMAL.replace("runs/x", r"a\u001b[2J").encode())
    refused("many", r"unknown key 'a19'.*\n  \.\.\. and 4980 more", MINIMAL.encode() + _tables(5000))
    unreadable = tmp_path / "unreadable"
    unreadable.write_text(MINIMAL)
    unreadable.chmod(0)
    if not os.access(unreadable, os.R_OK):  # root reads everything
        refused("unreadable", r"unreadable cannot be read: Permission denied")


def _tables(count: int) -> bytes:
    return "".join(f"[a{number}]\n" for number in range(count)).encode()


def test_a_byte_order_mark_is_no_part_of_a_recipe(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load_recipe(GrpoRecipe, file).output_dir == Path("runs/x")


@pytest.mark.parametrize("text", ["", "[]", "{", "3", "[" * 100_000, '{"model": NaN}', "9" * 5000])
def test_a_spoilt_resolved_recipe_is_one_message(tmp_path: Path, text: str) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"recipe\.json"):
        read_resolved(GrpoRecipe, file)


@pytest.mark.parametrize(
    "words",
    [["L1", "L3"], ["L1,L3"], ["L1,", "L3"], ['["L1", "L3"]'], ["[L1,L3]"], ["'L1','L3'"]],
)
def test_several_values_are_written_with_blanks_commas_or_as_in_toml(file: Path, words: list[str]) -> None:
    assert load_recipe(EvalRecipe, file, ["--eval.levels", *words, "--eval.seed", "3"]).eval == EvalConfig(
        levels=("L1", "L3"), seed=3
    )
    if len(words) == 1:
        assert load_recipe(EvalRecipe, file, [f"--eval.levels={words[0]}"]).eval.levels == ("L1", "L3")
    trackers = ["--log.trackers", '["tensorboard","wandb"]', "--data.root", ""]
    recipe = load_recipe(GrpoRecipe, file, trackers)
    assert (recipe.log, recipe.data.root) == (LogConfig(trackers=("tensorboard", "wandb")), Path())
    assert load_recipe(GrpoRecipe, file, ["--lora.target-modules=q_proj,v_proj"]).lora is not None


@pytest.mark.parametrize("kind", [*RECIPES, PretrainRecipe])
def test_help_explains_every_key(kind: type[Section], file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def keys(section: type[Section], prefix: str) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for name, field in section.model_fields.items():
            found[prefix + name] = field.description
            for inner in sections_in(field.annotation):
                found |= keys(inner, f"{prefix}{name}.")
        return found

    explained = keys(kind, "")
    assert set(explained) == set(known_keys(kind))
    assert [key for key, text in explained.items() if not text] == []
    if kind is not PretrainRecipe:
        with pytest.raises(SystemExit):
            load_recipe(kind, file, ["--help"])
        assert "pyright" not in capsys.readouterr().out
