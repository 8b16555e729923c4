"""An output folder belongs to one piece of work, here an evaluation."""

import json
from pathlib import Path

import pytest

from sbr.config.asking import EvalConfig
from sbr.config.inputs import DataConfig, FramesConfig, ModelConfig
from sbr.config.load import read_resolved, write_resolved
from sbr.config.recipes import DistillRecipe, EvalRecipe, GrpoRecipe, SftRecipe
from sbr.errors import ConfigError, DataError
from sbr.resume.folder import Work, check_folder, fingerprint, start_folder, weight_files

WORK = Work("an evaluation", "--out")
INPUTS = {"base/model.safetensors": "ab", "annotations/validation_L1.jsonl": "cd"}


def recipe(folder: Path, seed: int = 0, height: int = 256, path: str = "m") -> EvalRecipe:
    return EvalRecipe(
        model=ModelConfig(path=path),
        data=DataConfig(root=Path("d")),
        output_dir=folder,
        frames=FramesConfig(height=height),
        eval=EvalConfig(seed=seed),
    )


def open_folder(asked: EvalRecipe, inputs: dict[str, str]) -> None:
    check_folder(asked.output_dir, asked, inputs, WORK)
    start_folder(asked.output_dir, asked, inputs)


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_new_folder_holds_the_recipe_as_used(tmp_path):
    open_folder(recipe(tmp_path / "a" / "b", seed=3), INPUTS)
    assert read_resolved(EvalRecipe, tmp_path / "a" / "b" / "recipe.json") == recipe(tmp_path / "a" / "b", seed=3)


def test_the_same_settings_continue_also_under_another_name_of_the_folder(tmp_path):
    open_folder(recipe(tmp_path / "a"), INPUTS)
    (tmp_path / "a").rename(tmp_path / "b")
    open_folder(recipe(tmp_path / "b"), dict(reversed(INPUTS.items())))


def test_a_folder_of_a_version_without_a_setting_is_refused_and_the_key_named(tmp_path):
    open_folder(recipe(tmp_path), INPUTS)
    file = tmp_path / "recipe.json"
    saved = json.loads(file.read_text())
    del saved["eval"]["compile"]
    saved["eval"]["gone"] = 1
    file.write_text(json.dumps(saved))
    with pytest.raises(ConfigError, match=r"(?s)eval\.compile: None then, False now.*eval\.gone: 1 then, None now"):
        open_folder(recipe(tmp_path), INPUTS)


def test_other_settings_are_refused_with_every_differing_key(tmp_path):
    open_folder(recipe(tmp_path), INPUTS)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ConfigError) as caught:
        open_folder(recipe(tmp_path, seed=1, height=112), INPUTS)
    text = str(caught.value)
    assert "eval.seed: 0 then, 1 now" in text
    assert "frames.height: 256 then, 112 now" in text
    assert "model" not in text
    assert "output_dir" not in text
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (INPUTS | {"base/model.safetensors": "xy"}, "input file base/model.safetensors has changed"),
        (INPUTS | {"base/more.safetensors": "xy"}, "input file base/more.safetensors is new"),
        ({"base/model.safetensors": "ab"}, "input file annotations/validation_L1.jsonl is gone"),
    ],
)
def test_other_weights_or_annotations_under_the_same_path_are_refused(tmp_path, inputs, message):
    open_folder(recipe(tmp_path), INPUTS)
    with pytest.raises(ConfigError, match=message):
        open_folder(recipe(tmp_path), inputs)


@pytest.mark.parametrize(
    "names", [["records.jsonl"], ["annotations/training_6k.jsonl", "videos/a.mp4"], ["notes.txt"], [".git/HEAD"]]
)
def test_a_folder_that_holds_something_else_is_left_as_it_is(tmp_path, names):
    """Answers whose recipe is gone, a data root, anything."""
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    before = content(tmp_path)
    with pytest.raises(ConfigError, match=rf"{tmp_path} holds .* but no recipe\.json.*another --out"):
        open_folder(recipe(tmp_path), INPUTS)
    assert content(tmp_path) == before


def test_what_a_killed_start_leaves_is_no_hindrance(tmp_path):
    for name in (".lock", ".recipe.json.77.tmp", "inputs.json"):
        (tmp_path / name).write_text("{}")
    open_folder(recipe(tmp_path), INPUTS)
    open_folder(recipe(tmp_path), INPUTS)


@pytest.mark.parametrize("name", ["recipe.json", "inputs.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"a"', "[" * 200_000, '{"a":' * 200_000, "\0", "\udc80"])
def test_damaged_files_are_named(tmp_path, name, text):
    open_folder(recipe(tmp_path), INPUTS)
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    before = content(tmp_path)
    with pytest.raises(DataError, match=rf"{name} is damaged \(.*\); choose another --out"):
        open_folder(recipe(tmp_path), INPUTS)
    assert content(tmp_path) == before


def test_what_is_no_file_is_not_read(tmp_path):
    open_folder(recipe(tmp_path), INPUTS)
    (tmp_path / "inputs.json").unlink()
    (tmp_path / "inputs.json").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"inputs\.json is no ordinary file; choose another --out"):
        open_folder(recipe(tmp_path), INPUTS)


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize("kind", [GrpoRecipe, SftRecipe, DistillRecipe])
def test_a_folder_of_another_command_is_left_as_it_is(tmp_path, kind, inputs):
    """With and without fingerprints of its own."""
    other = kind(model=ModelConfig(path="m"), data=DataConfig(root=Path("d")), output_dir=tmp_path)
    write_resolved(other, tmp_path / "recipe.json")
    if inputs:
        (tmp_path / "inputs.json").write_text("{}")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=r"recipe\.json in .* is not of an evaluation \(it has .*\): .*another --out"):
        open_folder(recipe(tmp_path), INPUTS)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_folder_whose_start_was_killed_is_started_again(tmp_path):
    open_folder(recipe(tmp_path), INPUTS)
    (tmp_path / "recipe.json").unlink()
    open_folder(recipe(tmp_path, seed=1), INPUTS)
    assert read_resolved(EvalRecipe, tmp_path / "recipe.json").eval.seed == 1


def test_a_file_as_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        open_folder(recipe(tmp_path / "file"), INPUTS)


def test_fingerprint_sees_a_change_of_one_byte_anywhere(tmp_path):
    file = tmp_path / "w"
    content = bytearray(range(256)) * 12_000  # about three blocks
    file.write_bytes(content)
    first = fingerprint(file)
    assert fingerprint(file) == first
    for place in (0, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        file.write_bytes(changed)
        assert fingerprint(file) != first
    file.write_bytes(b"")
    assert fingerprint(file) != first


def test_weight_files_are_those_of_the_folder_itself(tmp_path):
    used = ["adapter_model.bin", "chat_template.jinja", "config.json", "model.safetensors"]
    for name in (*used, "README.md", "sub/optimizer.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [file.name for file in weight_files(tmp_path)] == used
