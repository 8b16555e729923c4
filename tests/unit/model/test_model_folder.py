"""Hostile and damaged model folders: one CheckpointError each, before memory is taken and without running anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sbr.config.inputs import ModelConfig
from sbr.errors import CheckpointError
from sbr.model.load import load_configs, load_model, load_processor
from sbr.model.model_folder import check_model_folder, check_vocabulary

CPU = torch.device("cpu")


@pytest.fixture
def folder(tiny_model_dir, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


def edit(folder: Path, name: str = "config.json", **values: Any) -> None:
    saved = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
    (folder / name).write_text(json.dumps(saved | values))


def edit_part(folder: Path, part: str, **values: Any) -> None:
    edit(folder, **{part: json.loads((folder / "config.json").read_text())[part] | values})


def text(**values: Any) -> Callable[[Path], None]:
    return lambda folder: edit_part(folder, "text_config", **values)


def vision(**values: Any) -> Callable[[Path], None]:
    return lambda folder: edit_part(folder, "vision_config", **values)


def index(weight_map: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "part.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    return change


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def header(data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "model.safetensors").write_bytes(data)


CASES: list[tuple[Callable[[Path], object], str]] = [
    (pickle_only, "only pytorch_model.bin, a pickle, which can run code and is not opened; convert .* as safetensors"),
    (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors and no .*index.json, none"),
    (index({"a": "../../secret.safetensors"}), "which is no .safetensors file of this folder"),
    (index({"a": "/etc/passwd"}), "which is no .safetensors file of this folder"),
    (index({"a": "pytorch_model.bin"}), "which is no .safetensors file of this folder"),
    (index({"a": "gone.safetensors"}), "which is missing"),
    (index({"a": 3}), "has no weight_map"),
    (index([]), "has no weight_map"),
    (header(b""), "is damaged"),
    (header(b"\xff" * 64), "its header is said to have"),
    (header((2).to_bytes(8, "little") + b"[]"), "is damaged"),
    (text(num_attention_heads=0), "num_attention_heads 0, expected 1 to 100,000"),
    (text(num_attention_heads=7), "no multiple"),
    (text(num_key_value_heads=3), "4 attention heads for 3 key heads"),
    (text(hidden_size=10**12), "hidden_size 1000000000000, expected 1 to 1,000,000"),
    (text(hidden_size=900_000), "describes a model of at least .* weights, but the files hold"),
    (text(num_hidden_layers=1000), "describes a model of at least"),
    (text(num_hidden_layers="3"), "num_hidden_layers '3'"),
    (text(vocab_size=-5), "vocab_size -5"),
    (vision(depth=10**9), "depth 1000000000"),
    (vision(num_heads=0), "num_heads 0"),
    (vision(spatial_merge_size=0), "spatial_merge_size 0"),
    (lambda folder: (folder / "config.json").write_text("[]"), "config.json cannot be loaded: it is no JSON object"),
    (lambda folder: (folder / "config.json").write_text("[" * 200_000), "config.json cannot be loaded"),
    (lambda folder: (folder / "config.json").write_text(" " * (17 << 20)), "larger than 16 MiB"),
    (lambda folder: (folder / "generation_config.json").write_text("{"), "generation_config.json cannot be loaded"),
]


@pytest.mark.parametrize(("change", "message"), CASES)
def test_a_folder_that_cannot_be_a_model(folder, change, message) -> None:
    check_model_folder("it", folder)
    change(folder)
    with pytest.raises(CheckpointError, match=message):
        check_model_folder("it", folder)
    with pytest.raises(CheckpointError, match=message):
        load_model(ModelConfig(path=str(folder), dtype="float32"), CPU)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "processor_config.json"])
@pytest.mark.parametrize("known", [True, False])
def test_code_in_a_model_folder_is_refused_and_nobody_is_asked(folder, tmp_path, monkeypatch, name, known) -> None:
    marker = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: pass\n")
    classes = ("AutoConfig", "AutoModel", "AutoModelForImageTextToText", "AutoProcessor", "AutoTokenizer")
    edit(folder, name, auto_map=dict.fromkeys(classes, "evil.Evil"))
    if not known:
        edit(folder, model_type="evil", processor_class="Evil")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a person was asked"))
    config = ModelConfig(path=str(folder), dtype="float32")
    for load in (
        lambda: load_model(config, CPU),
        lambda: load_processor(config.path),
        lambda: load_configs(config.path),
    ):
        with pytest.raises(CheckpointError, match=f"{name} names Python code to run"):
            load()
    assert not marker.exists()


PROCESSOR_CASES: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: (folder / "tokenizer.json").unlink(), "the processor cannot be loaded"),
    (lambda folder: (folder / "tokenizer.json").write_text("{"), "the processor cannot be loaded"),
    (lambda folder: (folder / "tokenizer.json").write_text("{}"), "the processor cannot be loaded"),
    (lambda folder: (folder / "tokenizer_config.json").write_text("[]"), "tokenizer_config.json cannot be loaded"),
    (lambda folder: (folder / "processor_config.json").write_text("{"), "processor_config.json cannot be loaded"),
    (lambda folder: edit(folder, "processor_config.json", image_processor={"patch_size": "x"}), "its patch_size is"),
    (lambda folder: (folder / "chat_template.jinja").write_text("{% if %}"), "TemplateSyntaxError"),
    (lambda folder: (folder / "chat_template.jinja").write_text("{{ a.b.c }}"), "UndefinedError"),
    (text(vocab_size=100), "the tokenizer has 408 tokens, but the model only 100 rows"),
]


@pytest.mark.parametrize(("change", "message"), PROCESSOR_CASES)
def test_a_folder_that_cannot_have_a_processor(folder, change, message) -> None:
    load_processor(str(folder))
    change(folder)
    with pytest.raises(CheckpointError, match=message):
        load_processor(str(folder))


def test_an_adapter_folder_has_no_rows_to_compare(tmp_path) -> None:
    check_vocabulary("it", tmp_path, 10**9)
