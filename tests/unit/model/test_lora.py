"""Adapter folders: what is loaded how, and which words say what is wrong with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file

from sbr.config.inputs import LoraConfig, ModelConfig
from sbr.errors import CheckpointError
from sbr.model import lora
from sbr.model.load import load_model

CPU = torch.device("cpu")


def load(folder: Path, **values: object):
    return load_model(ModelConfig.model_validate({"path": str(folder), "dtype": "float32", **values}), CPU)


@pytest.fixture
def adapter(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """An adapter of all text layers with B != 0."""
    model = load(tiny_model_dir)
    lora.add_adapter(model, LoraConfig(rank=2, alpha=6), str(tiny_model_dir), seed=0)
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if ".lora_B." in name:
            weight.data = 0.1 * torch.randn_like(weight)
    folder = tmp_path / "adapter"
    folder.mkdir()
    lora.save_adapter(model, folder)
    return folder


def edit_config(folder: Path, **values: object) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def edit_weights(folder: Path, change) -> None:
    file = folder / "adapter_model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


def test_float32_is_merged_into_ordinary_weights(adapter, tiny_model_dir) -> None:
    merged, base = load(adapter, train_vision=False), load(tiny_model_dir)
    name = "model.language_model.layers.1.mlp.up_proj"
    weights = load_file(adapter / "adapter_model.safetensors")
    a, b = (weights[f"base_model.model.{name}.lora_{letter}.weight"] for letter in "AB")
    expected = base.get_parameter(f"{name}.weight") + 6 / 2 * b @ a
    torch.testing.assert_close(merged.get_parameter(f"{name}.weight"), expected, rtol=0, atol=1e-6)
    assert [n for n, _ in merged.named_parameters()] == [n for n, _ in base.named_parameters()]
    frozen = {n for n, weight in merged.named_parameters() if not weight.requires_grad}
    assert frozen == {n for n, _ in base.named_parameters() if n.startswith("model.visual.")}


def test_a_merged_model_is_saved_as_a_whole(adapter, tmp_path) -> None:
    merged = load(adapter)
    merged.save_pretrained(tmp_path / "merged")
    again = load(tmp_path / "merged")
    assert all(torch.equal(a, b) for a, b in zip(merged.parameters(), again.parameters(), strict=True))


def test_sixteen_bits_keep_the_adapter_apart(adapter) -> None:
    model = load(adapter, dtype="bfloat16")
    assert sum(isinstance(module, BaseTunerLayer) for module in model.modules()) == 3 * 7
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    with pytest.raises(ValueError, match="loses small changes"):
        lora.merge_adapter(model)


def test_a_base_that_is_missing_is_named_with_a_way_out(adapter, tiny_model_dir, tmp_path) -> None:
    moved = shutil.copytree(tiny_model_dir, tmp_path / "moved")
    edit_config(adapter, base_model_name_or_path="/nowhere/base")
    with pytest.raises(CheckpointError, match=r"adapter of '/nowhere/base', which is not here.*adapter_config\.json"):
        load(adapter)
    edit_config(adapter, base_model_name_or_path=str(moved))
    load(adapter)
    edit_config(adapter, base_model_name_or_path=None)
    with pytest.raises(CheckpointError, match="names no base model; write where it is"):
        load(adapter)
    edit_config(adapter, base_model_name_or_path=str(adapter))
    with pytest.raises(CheckpointError, match="itself an adapter"):
        load(adapter)


def test_weights_that_are_missing_or_too_many(adapter, tiny_model_dir) -> None:
    name = "base_model.model.model.language_model.layers.1.mlp.up_proj.lora_A.weight"
    edit_weights(adapter, lambda weights: weights.update({name.replace("layers.1", "layers.9"): weights[name].clone()}))
    with pytest.raises(CheckpointError, match=r"beyond the layers it names, 1 weights.*layers\.9.*trained on '/"):
        load(adapter)
    edit_weights(adapter, lambda weights: (weights.pop(name.replace("layers.1", "layers.9")), weights.pop(name)))
    with pytest.raises(CheckpointError, match=r"lacks 1 weights, the first is .*layers\.1\.mlp\.up_proj\.lora_A"):
        load(adapter)
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors is missing; copy the adapter again"):
        load(adapter)


def test_weights_of_another_shape_or_damaged(adapter) -> None:
    name = "base_model.model.model.language_model.layers.1.mlp.up_proj.lora_A.weight"
    edit_weights(adapter, lambda weights: weights.update({name: torch.zeros(2, 5)}))
    with pytest.raises(
        CheckpointError, match=r"the adapter cannot be loaded.*(?s:.)*size mismatch(?s:.)*trained on '/"
    ):
        load(adapter)
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="the adapter cannot be loaded"):
        load(adapter)


def test_configs_that_are_not_plain_lora(adapter) -> None:
    edit_config(adapter, target_modules=["query"])
    with pytest.raises(CheckpointError, match="the adapter cannot be loaded"):  # no such layer: another base
        load(adapter)
    edit_config(adapter, modules_to_save=["lm_head"])
    with pytest.raises(CheckpointError, match="uses plain LoRA"):
        load(adapter)
    (adapter / "adapter_config.json").write_text('{"peft_type": "IA3", "base_model_name_or_path": "x"}')
    with pytest.raises(CheckpointError, match="IA3 adapter"):
        load(adapter)
    (adapter / "adapter_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"adapter_config\.json is damaged"):
        load(adapter)
