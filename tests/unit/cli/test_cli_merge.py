"""`sbr merge`: the folder it writes, and what transformers and peft make of it and of the adapter."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig

from sbr.cli.main import run
from sbr.config.inputs import LoraConfig, ModelConfig
from sbr.model import lora
from sbr.model.load import load_model, load_processor


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """Of the built-in model, with B != 0, as a run writes final/."""
    model = load_model(ModelConfig(path="sbr:mini", dtype="float32"), torch.device("cpu"))
    lora.add_adapter(model, LoraConfig(rank=2, alpha=6), "sbr:mini", seed=0)
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if ".lora_B." in name:
            weight.data = 0.1 * torch.randn_like(weight)
    folder = tmp_path / "adapter"
    folder.mkdir()
    lora.save_adapter(model, folder)
    load_processor("sbr:mini").save_pretrained(folder)
    return folder


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model.eval()(input_ids=torch.arange(20)[None]).logits


def test_merged_folder_adapter_and_peft_give_the_same_logits(adapter, tmp_path, capsys) -> None:
    assert run(["merge", str(adapter), str(tmp_path / "new" / "merged")]) == 0
    assert "merged into its base, float32" in capsys.readouterr().out
    merged = logits(AutoModelForImageTextToText.from_pretrained(tmp_path / "new" / "merged"))
    named = json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    base = AutoModelForImageTextToText.from_pretrained(named)
    plain = logits(base)
    by_peft = logits(peft.PeftModel.from_pretrained(base, str(adapter)))
    by_transformers = logits(AutoModelForImageTextToText.from_pretrained(adapter))
    assert (merged - plain).abs().max() > 0.1
    for found in (by_peft, by_transformers):
        torch.testing.assert_close(merged, found, rtol=0, atol=5e-5)
    assert GenerationConfig.from_pretrained(tmp_path / "new" / "merged").eos_token_id == [703, 704]
    assert AutoProcessor.from_pretrained(tmp_path / "new" / "merged").chat_template
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["merged"]  # no draft is left


def test_sixteen_bits_are_rounded_once(adapter, tmp_path) -> None:
    for dtype in ("float32", "bfloat16"):
        assert run(["merge", str(adapter), str(tmp_path / dtype), "--dtype", dtype]) == 0
    wide, narrow = (
        load_model(ModelConfig(path=str(tmp_path / dtype), dtype=dtype), torch.device("cpu"))
        for dtype in ("float32", "bfloat16")
    )
    assert json.loads((tmp_path / "bfloat16" / "config.json").read_text())["dtype"] == "bfloat16"
    for a, b in zip(wide.parameters(), narrow.parameters(), strict=True):
        assert torch.equal(a.bfloat16(), b)


def test_what_is_refused(adapter, tmp_path, capsys) -> None:
    (tmp_path / "there").mkdir()
    assert run(["merge", str(adapter), str(tmp_path / "there")]) == 2
    assert "already exists" in capsys.readouterr().err
    assert run(["merge", str(tmp_path / "there"), str(tmp_path / "new")]) == 2
    assert "holds no adapter" in capsys.readouterr().err
    assert run(["merge", "sbr:mini", str(tmp_path / "new")]) == 2
    assert "holds no adapter" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
