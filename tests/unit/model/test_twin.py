"""A model's structure without weights, and the copy that is asked in place of what is trained."""

from __future__ import annotations

import pytest
import torch

from sbr.config.inputs import LoraConfig, ModelConfig, PromptConfig
from sbr.model import lora
from sbr.model.load import load_model, load_processor
from sbr.model.logprobs import completion_logprobs
from sbr.model.twin import Twin
from sbr.prompt.encode import PromptEncoder
from sbr.rollout.generate import generate
from sbr.rollout.sampling import Sampling

CPU, META = torch.device("cpu"), torch.device("meta")
FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


@pytest.fixture(params=FAMILIES)
def config(request, tiny_model_dirs) -> ModelConfig:
    return ModelConfig(path=str(tiny_model_dirs[request.param]), dtype="float32")


@pytest.fixture
def asked(config, sbr_sample, sbr_frames):
    """Prompts, and what draws completions of them."""
    processor = load_processor(config.path)
    encoder = PromptEncoder(processor, PromptConfig())
    side = 2 * encoder.size_factor
    prompts = [encoder.encode(sbr_sample(str(n)), sbr_frames(seed=n, height=side, width=side)) for n in range(2)]

    def draw(model, autocast: bool = False):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found = generate(model, processor.tokenizer, prompts, 2, Sampling(max_new_tokens=8), [1, 2])
        return [(c.token_ids, c.logprobs) for group in found for c in group]

    return prompts, draw


def test_the_structure_is_the_model_without_its_weights(config) -> None:
    whole, structure = load_model(config, CPU), load_model(config, META)
    assert [(name, weight.shape, weight.dtype, weight.requires_grad) for name, weight in whole.named_parameters()] == [
        (name, weight.shape, weight.dtype, weight.requires_grad) for name, weight in structure.named_parameters()
    ]
    assert all(weight.is_meta for weight in structure.parameters())
    for (name, buffer), (other, real) in zip(whole.named_buffers(), structure.named_buffers(), strict=True):
        assert name == other and torch.equal(buffer, real), name
    assert structure.generation_config.to_dict() == whole.generation_config.to_dict()
    assert structure.config.to_dict() == whole.config.to_dict()
    assert not any(module.training for module in structure.modules())


@pytest.mark.parametrize("autocast", [False, True])
def test_a_twin_answers_bit_for_bit_and_follows(config, asked, autocast) -> None:
    _, draw = asked
    model = load_model(config, CPU)
    twin = Twin(load_model(config, META), model, CPU, torch.bfloat16 if autocast else None)
    assert sum(weight.numel() for weight in twin.model.parameters()) == 0
    for _ in range(2):
        with twin() as copy:
            assert draw(copy, autocast) == draw(model, autocast)
            linear = copy.model.language_model.layers[0].mlp.up_proj.weight
            assert linear.dtype == (torch.bfloat16 if autocast else torch.float32)
            assert copy.model.language_model.embed_tokens.weight.dtype == torch.float32
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.01 * torch.randn_like(weight))
    assert sum(weight.numel() for weight in twin.model.parameters()) == 0
    assert twin.model.dtype == torch.float32


def test_adapters_are_added_to_their_weights(config, asked) -> None:
    prompts, _ = asked
    model = load_model(config, CPU)
    lora.add_adapter(model, LoraConfig(rank=4, alpha=8, vision=True), config.path, 0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    twin = Twin(load_model(config, META), model, CPU)
    completions_PG = [[[11, 12, 13]], [[14, 15]]]
    with torch.no_grad(), twin() as copy:
        expected = completion_logprobs(model, prompts, completions_PG).logprobs_BL
        found = completion_logprobs(copy, prompts, completions_PG).logprobs_BL
        with lora.adapters_off(model):
            base = completion_logprobs(model, prompts, completions_PG).logprobs_BL
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)
    assert (base - expected).abs().max() > 0.01


def test_a_twin_is_empty_again_after_an_error(config) -> None:
    twin = Twin(load_model(config, META), load_model(config, CPU), CPU)
    with pytest.raises(KeyError), twin():
        raise KeyError
    assert sum(weight.numel() for weight in twin.model.parameters()) == 0
