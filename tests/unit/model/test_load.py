import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.errors import CheckpointError
from sbr.model.families import MODEL_CLASSES
from sbr.model.load import load_model, load_processor
from sbr.model.logprobs import completion_logprobs
from sbr.model.paths import resolve_model_path
from sbr.model.shared_prefix import ATTENTION
from sbr.prompt.encode import PromptEncoder

CPU = torch.device("cpu")


@pytest.fixture
def copy(tiny_model_dir, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "copy"))


def edit_json(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_paths(tiny_model_dir, tmp_path, monkeypatch) -> None:
    assert resolve_model_path(str(tiny_model_dir)) == str(tiny_model_dir)
    assert resolve_model_path("Qwen/Qwen2-VL-7B-Instruct") == "Qwen/Qwen2-VL-7B-Instruct"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "file").touch()
    for wrong in ("runs/step_10", "./Qwen/Qwen2-VL-7B-Instruct", "/nowhere/model", "model", "a/b/c", "~/no/such"):
        with pytest.raises(CheckpointError, match="does not exist"):
            resolve_model_path(wrong)
    with pytest.raises(CheckpointError, match="is a file"):
        resolve_model_path("file")
    with pytest.raises(CheckpointError, match="no built-in model 'sbr:maxi'"):
        resolve_model_path("sbr:maxi")


@pytest.mark.parametrize("family", MODEL_CLASSES)
def test_text_model_and_vision_tower_use_our_attention(tiny_model_dirs, family) -> None:
    model = load_model(ModelConfig(path=str(tiny_model_dirs[family]), dtype="bfloat16"), CPU)
    assert model.config.model_type == family
    assert model.model.language_model.layers[0].self_attn.config._attn_implementation == ATTENTION
    assert model.model.visual.blocks[0].attn.config._attn_implementation == ATTENTION
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("family", MODEL_CLASSES)
def test_frozen_vision_and_gradient_checkpointing(tiny_model_dirs, family) -> None:
    path = str(tiny_model_dirs[family])
    model = load_model(ModelConfig(path=path, dtype="float32", train_vision=False, gradient_checkpointing=True), CPU)
    assert not any(parameter.requires_grad for parameter in model.model.visual.parameters())
    assert all(parameter.requires_grad for parameter in model.model.language_model.parameters())
    assert model.is_gradient_checkpointing


@pytest.mark.parametrize("family", MODEL_CLASSES)
def test_a_saved_model_is_an_ordinary_folder(tiny_model_dirs, tmp_path, family) -> None:
    load_model(ModelConfig(path=str(tiny_model_dirs[family]), dtype="float32"), CPU).save_pretrained(tmp_path)
    assert ATTENTION not in (tmp_path / "config.json").read_text()
    assert type(AutoModelForImageTextToText.from_pretrained(tmp_path)) is MODEL_CLASSES[family]


def test_missing_weights_are_an_error_not_random_values(copy) -> None:
    weights = load_file(copy / "model.safetensors")
    dropped = next(name for name in weights if name.endswith("layers.1.mlp.up_proj.weight"))
    weights.pop(dropped)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 weights are missing, the first is .*layers\.1\.mlp\.up_proj"):
        load_model(ModelConfig(path=str(copy), dtype="float32"), CPU)


def test_unusable_weight_files(copy) -> None:
    config = ModelConfig(path=str(copy), dtype="float32")
    file = copy / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="the weights cannot be loaded"):
        load_model(config, CPU)
    file.unlink()
    with pytest.raises(CheckpointError, match="the weights cannot be loaded"):
        load_model(config, CPU)


def test_weights_of_another_shape(copy) -> None:
    config = json.loads((copy / "config.json").read_text())
    edit_json(copy / "config.json", text_config=config["text_config"] | {"intermediate_size": 100})
    with pytest.raises(CheckpointError, match="weights"):
        load_model(ModelConfig(path=str(copy), dtype="float32"), CPU)


def test_configs_that_do_not_fit(copy) -> None:
    config = ModelConfig(path=str(copy), dtype="float32")
    saved = json.loads((copy / "config.json").read_text())
    edit_json(copy / "config.json", text_config=saved["text_config"] | {"layer_types": ["sliding_attention"] * 3})
    with pytest.raises(CheckpointError, match="sliding-window"):
        load_model(config, CPU)
    for unknown in ("llama", "qwen3_vl_moe"):
        (copy / "config.json").write_text(json.dumps({"model_type": unknown}))
        known = "qwen2_vl, qwen2_5_vl, qwen3_vl"
        with pytest.raises(
            CheckpointError, match=f"is a {unknown} checkpoint; this version trains and evaluates {known}"
        ):
            load_model(config, CPU)
    (copy / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be loaded"):
        load_model(config, CPU)
    (copy / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json cannot be loaded"):
        load_model(config, CPU)


@pytest.mark.parametrize("family", MODEL_CLASSES)
def test_every_family_has_its_own_processor(tiny_model_dirs, family) -> None:
    names = {"qwen2_vl": "Qwen2VLProcessor", "qwen2_5_vl": "Qwen2_5_VLProcessor", "qwen3_vl": "Qwen3VLProcessor"}
    assert type(load_processor(str(tiny_model_dirs[family]))).__name__ == names[family]


def test_a_processor_of_another_family(copy, tiny_model_dirs, sbr_sample, sbr_frames) -> None:
    model = load_model(ModelConfig(path=str(tiny_model_dirs["qwen2_5_vl"]), dtype="float32"), CPU)
    encoder = PromptEncoder(load_processor(str(tiny_model_dirs["qwen2_vl"])), PromptConfig())
    with pytest.raises(CheckpointError, match="how many seconds a frame stands for"):
        completion_logprobs(model, [encoder.encode(sbr_sample(), sbr_frames())], [[[1, 2]]])
    (copy / "config.json").write_text(json.dumps({"model_type": "llama"}))  # a text model: a tokenizer and no processor
    (copy / "processor_config.json").unlink()
    tokenizer = json.loads((copy / "tokenizer_config.json").read_text())
    tokenizer.pop("processor_class")
    (copy / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    with pytest.raises(CheckpointError, match=r"its processor is \w+, not that of a qwen2_vl, qwen2_5_vl, qwen3_vl"):
        load_processor(str(copy))


def test_processors(copy, tmp_path) -> None:
    assert load_processor(str(copy)).tokenizer.eos_token == "<|im_end|>"
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match="no chat template"):
        load_processor(str(copy))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="the processor cannot be loaded"):
        load_processor(str(tmp_path / "empty"))
