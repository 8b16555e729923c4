"""LoRA adapters in the shared-prefix passes against plain peft on plain transformers, and adapters off against none."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from plain_transformers import inputs, plain_model
from test_logprobs_parity import (
    LENGTHS_PG,
    draw,
    gradients,
    largest_error,
    largest_relative_error,
    our_loss,
    reference,
    weighted,
)
from torch import nn

from sbr.config.inputs import LoraConfig, ModelConfig
from sbr.model import lora
from sbr.model.load import load_model
from sbr.model.logprobs import completion_logprobs
from sbr.model.tokens import banned_tokens
from sbr.rollout.generate import generate
from sbr.rollout.sampling import Sampling

CPU = torch.device("cpu")
SMALL = LoraConfig(rank=4, alpha=8)


def shake(model: nn.Module, scale: float = 0.05) -> None:
    """Give trainable weights random values: fresh adapters are products with zero, which would hide mistakes."""
    torch.manual_seed(5)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data + scale * torch.randn_like(weight)


def base_config(folder: Path, **values: object) -> ModelConfig:
    return ModelConfig.model_validate({"path": str(folder), "dtype": "float32", **values})


def targets(model: nn.Module, vision: bool) -> list[str]:
    """Every linear layer but the head, of the text model or of both parts: what add_adapter should choose."""
    parts = ("language_model", "visual") if vision else ("language_model",)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return [name for name in linear if any(f".{part}." in name for part in parts)]


@pytest.fixture(params=[False, True], ids=["text", "text+vision"])
def vision(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture
def wrapped(tiny_model_dir: Path, vision: bool) -> peft.PeftModel:
    """A plain model with plain peft's adapters, random in both matrices."""
    model = plain_model(tiny_model_dir)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets(model, vision), task_type="CAUSAL_LM")
    found = peft.get_peft_model(model, config)
    shake(found)
    return found


@pytest.fixture
def folder(wrapped: peft.PeftModel, tmp_path: Path) -> Path:
    wrapped.save_pretrained(str(tmp_path / "adapter"))
    return tmp_path / "adapter"


def unwrapped(names_to_values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("base_model.model."): value for name, value in names_to_values.items()}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_logprobs_and_every_adapter_gradient(tiny_model_dir, wrapped, folder, prompts, vision, checkpointing) -> None:
    config = base_config(tiny_model_dir, train_vision=vision, gradient_checkpointing=checkpointing)
    model = load_model(config, CPU).train()
    lora.load_adapter(model, folder)
    completions_PG = draw(LENGTHS_PG)
    found, expected = completion_logprobs(model, prompts, completions_PG), reference(wrapped, prompts, completions_PG)
    error = largest_error(found, expected)
    expected_gradients = unwrapped(gradients(wrapped, weighted([row for row, _ in expected])))
    relative = largest_relative_error(gradients(model, our_loss(found)), expected_gradients)
    print(f"log-probabilities: {error:.1e}; {len(expected_gradients)} adapter gradients: {relative:.1e}")
    assert len(expected_gradients) == 2 * len(targets(plain_model(tiny_model_dir), vision))  # and no other gradient
    assert error <= 1e-5
    assert relative <= 1e-4


def test_new_adapters_sit_on_every_linear_layer_and_load_into_plain_peft(
    tiny_model_dir, ours, prompts, tmp_path, vision
):
    config = SMALL.model_copy(update={"vision": vision})
    expected = set(targets(ours, vision))
    lora.add_adapter(ours, config, str(tiny_model_dir), seed=3)
    layers = {name for name, module in ours.named_modules() if isinstance(module, BaseTunerLayer)}
    assert layers == expected
    trained = {name.split(".lora_")[0] for name, weight in ours.named_parameters() if weight.requires_grad}
    assert trained == expected
    shake(ours)
    lora.save_adapter(ours, tmp_path)
    again = peft.PeftModel.from_pretrained(plain_model(tiny_model_dir), str(tmp_path))
    with torch.no_grad():
        for prompt in prompts:
            given = inputs(prompt, [1, 2, 3])
            base = plain_model(tiny_model_dir)(**given).logits
            torch.testing.assert_close(ours(**given).logits, again(**given).logits, rtol=0, atol=5e-5)
            assert (again(**given).logits - base).abs().max() > 0.1


def test_greedy_is_peft_generate_token_for_token(tiny_model_dir, wrapped, folder, tokenizer, prompts) -> None:
    apart = load_model(base_config(tiny_model_dir), CPU)
    lora.load_adapter(apart, folder)
    merged = load_model(base_config(folder), CPU)  # the folder itself, as `sbr eval --model` does
    assert type(merged) is type(apart)
    assert not any(isinstance(module, BaseTunerLayer) for module in merged.modules())
    assert all(weight.requires_grad for weight in merged.parameters())
    options = {"do_sample": False, "max_new_tokens": 12, "suppress_tokens": banned_tokens(apart, tokenizer)}
    setting = Sampling(temperature=0.0, max_new_tokens=12)
    for model in (apart, merged):
        groups = generate(model, tokenizer, prompts, 2, setting, [1, 2, 3])
        for prompt, group in zip(prompts, groups, strict=True):
            expected = wrapped.generate(**inputs(prompt), **options)[0, len(prompt) :].tolist()
            assert [list(completion.token_ids) for completion in group] == [expected, expected]
    base = generate(load_model(base_config(tiny_model_dir), CPU), tokenizer, prompts, 2, setting, [1, 2, 3])
    assert groups != base


def test_adapters_off_is_the_base_bit_for_bit_and_they_come_back(tiny_model_dir, ours, folder, prompts) -> None:
    completions_PG = draw(LENGTHS_PG)
    with torch.no_grad():
        base = completion_logprobs(ours, prompts, completions_PG).logprobs_BL
        model = load_model(base_config(tiny_model_dir), CPU)
        lora.load_adapter(model, folder)
        before = completion_logprobs(model, prompts, completions_PG).logprobs_BL
        with pytest.raises(KeyError), lora.adapters_off(model) as plain:
            assert torch.equal(completion_logprobs(plain, prompts, completions_PG).logprobs_BL, base)
            raise KeyError
        assert torch.equal(completion_logprobs(model, prompts, completions_PG).logprobs_BL, before)
        assert (before - base).abs().max() > 0.1
    assert sum(weight.requires_grad for weight in model.parameters()) > 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_new_adapters_change_nothing_not_a_bit(tiny_model_dir, prompts, dtype) -> None:
    model = load_model(base_config(tiny_model_dir, dtype=dtype, gradient_checkpointing=True), CPU).train()
    completions_PG = draw(LENGTHS_PG)
    lora.add_adapter(model, SMALL, str(tiny_model_dir), seed=0)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    assert {weight.dtype for weight in trained} == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        policy = completion_logprobs(model, prompts, completions_PG).logprobs_BL
        with torch.no_grad(), lora.adapters_off(model) as base:
            fixed = completion_logprobs(base, prompts, completions_PG).logprobs_BL
    assert torch.equal(policy, fixed)  # so the KL term of an untrained policy is exactly 0
    policy.sum().backward()
    # With B = 0 only B has a gradient; it reaches every layer, although nothing below needs one.
    assert all(
        (weight.grad.norm() > 0) == (".lora_B." in name)
        for name, weight in model.named_parameters()
        if weight.requires_grad
    )
    assert all(weight.grad is None for weight in model.parameters() if not weight.requires_grad)
