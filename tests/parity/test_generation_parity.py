"""Group generation against transformers' generate, against a loop without a cache, and against itself."""

from __future__ import annotations

import shutil

import pytest
import torch
from plain_transformers import inputs, logprobs, sample
from torch.utils._python_dispatch import TorchDispatchMode

from sbr.config.inputs import PromptConfig
from sbr.errors import CheckpointError
from sbr.model import decode
from sbr.model.load import load_processor
from sbr.model.logprobs import completion_logprobs
from sbr.model.shared_prefix import prompt_positions
from sbr.model.tokens import TokenRules, banned_tokens
from sbr.prompt.encode import PromptEncoder
from sbr.rollout import generate as native
from sbr.rollout.generate import generate
from sbr.rollout.graph import RecordedStep
from sbr.rollout.sampling import Sampling, uniforms

GREEDY = Sampling(temperature=0.0, max_new_tokens=24)
SAMPLED = Sampling(temperature=1.3, max_new_tokens=24)
SEEDS = [11, 12, 13]


@pytest.fixture
def early(ours, plain):
    """About every tenth token ends a turn, so that rows and groups end at different steps."""
    for model in (ours, plain):
        model.generation_config.eos_token_id = list(range(0, 401, 10))
    return ours, plain


def ids(groups) -> list[list[tuple[int, ...]]]:
    return [[completion.token_ids for completion in group] for group in groups]


def test_greedy_is_transformers_generate_token_for_token(early, tokenizer, prompts) -> None:
    ours, plain = early
    found = generate(ours, tokenizer, prompts, 2, GREEDY, SEEDS)
    options = {"do_sample": False, "max_new_tokens": 24, "suppress_tokens": banned_tokens(ours, tokenizer)}
    for prompt, group in zip(prompts, found, strict=True):
        for model in (plain, ours):  # `ours` too: ordinary generate still works on the same model
            expected = model.generate(**inputs(prompt), **options)[0, len(prompt) :].tolist()
            assert [list(completion.token_ids) for completion in group] == [expected, expected]
    assert len({len(group[0].token_ids) for group in found}) > 1  # rows really ended at different steps


def test_a_clip_whose_seconds_reach_behind_the_question(ours, plain, tokenizer, tiny_model_dir, sbr_sample, sbr_frames):
    """Qwen2.5-VL counts positions in seconds: here the last frame lies behind the last word."""
    encoder = PromptEncoder(load_processor(str(tiny_model_dir)), PromptConfig())
    side = 2 * encoder.size_factor
    prompt = encoder.encode(sbr_sample(), sbr_frames(0, 6, side, side, total=3000, fps=3.0))
    positions, following = prompt_positions(ours, prompt)
    if prompt.second_per_grid_ts is not None:
        assert positions.max() > following + 1000
    options = {"do_sample": False, "max_new_tokens": 24, "suppress_tokens": banned_tokens(ours, tokenizer)}
    expected = plain.generate(**inputs(prompt), **options)[0, len(prompt) :].tolist()
    ((found,),) = generate(ours, tokenizer, [prompt], 1, GREEDY, [0])
    assert list(found.token_ids) == expected
    with torch.no_grad():
        again, (reference, _) = completion_logprobs(ours, [prompt], [[expected]]), logprobs(plain, prompt, expected)
    torch.testing.assert_close(again.logprobs_BL, reference[None], rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.tensor(found.logprobs), reference, rtol=0, atol=1e-4)


def test_sampled_tokens_are_those_of_a_loop_without_cache(early, tokenizer, prompts) -> None:
    ours, plain = early
    found = ids(generate(ours, tokenizer, prompts, 4, SAMPLED, SEEDS))
    draws_PGL = uniforms(SEEDS, 4, SAMPLED.max_new_tokens).numpy()
    banned, ends = banned_tokens(ours, tokenizer), plain.generation_config.eos_token_id
    for p, prompt in enumerate(prompts):
        for g in (0, 3):
            assert list(found[p][g]) == sample(plain, prompt, draws_PGL[p, g], banned, ends, SAMPLED.temperature)
    assert len({len(completion) for group in found for completion in group}) > 3


@pytest.mark.parametrize("setting", [SAMPLED, Sampling(0.7, 0.9, 50, 12), Sampling(1.0, 1.0, 0, 1), GREEDY])
def test_logprobs_are_those_of_the_training_pass(early, tokenizer, prompts, setting) -> None:
    ours, _ = early
    groups = generate(ours, tokenizer, prompts, 4, setting, SEEDS)
    with torch.no_grad():
        again = completion_logprobs(ours, prompts, ids(groups), setting.temperature or 1.0)
    completions = [completion for group in groups for completion in group]
    flat = torch.tensor([value for completion in completions for value in completion.logprobs])
    difference = (flat - again.logprobs_BL[again.mask_BL]).abs().max()
    print(f"sampled log-probabilities against the training pass: largest difference {difference:.1e}")
    for row_L, mask_L, completion in zip(again.logprobs_BL, again.mask_BL, completions, strict=True):
        torch.testing.assert_close(torch.tensor(completion.logprobs), row_L[mask_L], rtol=0, atol=1e-4)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_when_rows_leave_the_batch_changes_nothing(early, tokenizer, prompts, monkeypatch, threshold) -> None:
    ours, _ = early
    expected = generate(ours, tokenizer, prompts, 6, SAMPLED, SEEDS)
    widths = []
    ours.lm_head.register_forward_hook(lambda module, args, output: widths.append(output.shape[0]))
    monkeypatch.setattr(native, "COMPACT_BELOW", threshold)
    found = generate(ours, tokenizer, prompts, 6, SAMPLED, SEEDS)
    assert ids(found) == ids(expected)
    assert (min(widths[1:]) < 18) == (threshold == 1.0)


def test_static_shapes_compile_to_one_graph_and_change_nothing(early, tokenizer, prompts, monkeypatch) -> None:
    ours, _ = early
    expected = generate(ours, tokenizer, prompts, 3, SAMPLED, SEEDS)
    graphs = []

    def backend(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(native.next_logits, backend=backend, fullgraph=True)
    monkeypatch.setattr(native, "_compiled_next_logits", compiled)
    caches = []
    prefill = native.prefill
    monkeypatch.setattr(native, "prefill", lambda *args: caches.append(prefill(*args)) or caches[-1])
    found = generate(ours, tokenizer, prompts, 3, SAMPLED, SEEDS, compiled=True)
    assert len(graphs) == 1  # 23 steps, one shape, no break
    assert caches[0][0].keys[0].shape[2] == 32  # no odd number of slots
    assert ids(found) == ids(expected)
    for before, after in zip(sum(expected, ()), sum(found, ()), strict=True):
        assert after.logprobs == pytest.approx(before.logprobs, abs=1e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
@pytest.mark.parametrize(
    "tiny_model_dir", ["qwen2_vl"], indirect=True
)  # its graph is like that of the others, and dear
def test_compiled_decoding_draws_the_same_tokens(early, tokenizer, prompts) -> None:
    ours, _ = early
    torch.compiler.reset()
    expected = generate(ours, tokenizer, prompts[:2], 2, SAMPLED, SEEDS[:2])
    assert ids(generate(ours, tokenizer, prompts[:2], 2, SAMPLED, SEEDS[:2], compiled=True)) == ids(expected)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_recorded_step_draws_the_same_tokens(early, tokenizer, prompts, monkeypatch, compiled) -> None:
    """With a stand-in for CUDA graphs that has their rules: work is recorded without being done, and done again with
    the tensors it was recorded with."""
    ours, _ = early
    expected = generate(ours, tokenizer, prompts, 3, SAMPLED, SEEDS)
    recorded, replayed, plain = [], [], []

    def record(work):
        logits = torch.full_like(work(), float("nan"))  # the slot that this fills is filled again
        recorded.append(logits)
        return logits, lambda: replayed.append(logits.copy_(work()))

    def step(*args):
        plain.append(args)
        return native.next_logits(*args)

    monkeypatch.setattr(native, "RecordedStep", lambda given: RecordedStep(step, record))
    monkeypatch.setattr(native, "_compiled_next_logits", step)
    found = generate(ours, tokenizer, prompts, 3, SAMPLED, SEEDS, compiled=compiled, graphs=True)
    assert ids(found) == ids(expected)
    for before, after in zip(sum(expected, ()), sum(found, ()), strict=True):
        assert after.logprobs == pytest.approx(before.logprobs, abs=1e-5)
    assert len(recorded) == 1
    assert len(replayed) == max(len(completion) for group in ids(found) for completion in group) - 2
    assert len(plain) == len(replayed) + 2, "the first step, and one while it is recorded"


def test_a_step_of_static_shape_asks_the_host_for_nothing(ours, prompts) -> None:
    """What a CUDA graph cannot record: reading a number, results of unknown size, constants that come from the host."""
    aten = torch.ops.aten
    refused = {
        aten._local_scalar_dense.default,
        aten.nonzero.default,
        aten.masked_select.default,
        aten.lift_fresh.default,
    }
    seen = set()

    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.add(func)
            return func(*args, **(kwargs or {}))

    with torch.no_grad():
        cache, _, positions = native.prefill(ours, prompts, 2, 8, True)
        cache.begin_step()
        with Seen():
            native.next_logits(ours, cache, torch.full_like(positions, 40), positions)
    assert aten.index_copy_.default in seen
    assert not seen & refused


def test_a_completion_does_not_depend_on_the_batch(early, tokenizer, prompts) -> None:
    ours, _ = early
    together = ids(generate(ours, tokenizer, prompts, 4, SAMPLED, SEEDS))
    for p, prompt in enumerate(prompts):
        (alone,) = ids(generate(ours, tokenizer, [prompt], 2, SAMPLED, [SEEDS[p]]))
        assert alone == together[p][:2]
    repeated = ids(generate(ours, tokenizer, [prompts[0], prompts[0]], 2, SAMPLED, [SEEDS[0], 99]))
    assert repeated[0] == together[0][:2]
    assert repeated[1] != repeated[0]  # another seed, other completions


@pytest.mark.parametrize("setting", [GREEDY, SAMPLED])
def test_media_and_special_tokens_are_never_drawn(ours, tokenizer, prompts, setting) -> None:
    banned = banned_tokens(ours, tokenizer)
    names = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|im_start|>"]
    assert set(tokenizer.convert_tokens_to_ids(names)) | set(range(408, 413)) == set(banned)

    def prefer_banned(module, args, logits):
        return logits.index_add(-1, torch.tensor(banned), torch.full((*logits.shape[:-1], len(banned)), 30.0))

    ours.lm_head.register_forward_hook(prefer_banned)
    groups = generate(ours, tokenizer, prompts, 3, setting, SEEDS)
    drawn = {token for group in ids(groups) for completion in group for token in completion}
    assert drawn.isdisjoint(banned)
    # Log-probabilities are those before banning: tiny here, and equal to those of the training pass.
    with torch.no_grad():
        again = completion_logprobs(ours, prompts, ids(groups), setting.temperature or 1.0)
    flat = torch.tensor([value for group in groups for completion in group for value in completion.logprobs])
    assert flat.max() < -5
    torch.testing.assert_close(flat, again.logprobs_BL[again.mask_BL], rtol=0, atol=1e-4)


def test_media_tokens_beyond_the_vocabulary_need_no_ban(ours, tokenizer, prompts) -> None:
    expected = banned_tokens(ours, tokenizer)
    ours.config.vision_start_token_id = ours.config.text_config.vocab_size + 5
    found = banned_tokens(ours, tokenizer)
    assert max(found) < ours.config.text_config.vocab_size
    assert found == expected  # the tokenizer still names the real one
    assert generate(ours, tokenizer, prompts[:1], 1, GREEDY, SEEDS[:1])


def test_rules_that_are_given_are_not_looked_up_again(ours, tokenizer, prompts, monkeypatch) -> None:
    rules = TokenRules.of(ours, tokenizer)
    expected = ids(generate(ours, tokenizer, prompts, 2, SAMPLED, SEEDS))
    monkeypatch.setattr(type(tokenizer), "get_vocab", None)
    assert ids(generate(ours, tokenizer, prompts, 2, SAMPLED, SEEDS, rules=rules)) == expected


def test_padding_is_banned_unless_it_ends_a_turn(ours, tokenizer) -> None:
    padding, end = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    assert padding not in banned_tokens(ours, tokenizer)
    ours.generation_config.eos_token_id = end
    assert padding in banned_tokens(ours, tokenizer)
    assert end not in banned_tokens(ours, tokenizer)


def test_ends_text_and_truncation(early, tokenizer, prompts) -> None:
    ours, _ = early
    ends = set(ours.generation_config.eos_token_id)
    short = Sampling(temperature=1.3, max_new_tokens=6)
    completions = [c for group in generate(ours, tokenizer, prompts, 6, short, SEEDS) for c in group]
    assert {completion.truncated for completion in completions} == {True, False}
    for completion in completions:
        assert completion.truncated == (completion.token_ids[-1] not in ends)
        assert completion.truncated <= (len(completion.token_ids) == short.max_new_tokens)
        assert not ends & set(completion.token_ids[:-1])
        assert len(completion.logprobs) == len(completion.token_ids)
        assert completion.text == tokenizer.decode(completion.token_ids, skip_special_tokens=True)


def test_the_mode_of_every_module_is_restored_and_nothing_needs_a_gradient(ours, tokenizer, prompts) -> None:
    ours.train()
    ours.model.visual.eval()
    modes = [module.training for module in ours.modules()]
    seen = []
    ours.lm_head.register_forward_hook(lambda module, args, output: seen.append((ours.training, output.requires_grad)))
    generate(ours, tokenizer, prompts[:1], 2, Sampling(max_new_tokens=2), [0])
    assert set(seen) == {(False, False)}
    assert [module.training for module in ours.modules()] == modes


@pytest.mark.parametrize(("size", "passes"), [(1, 3), (2, 2), (3, 1)])
def test_media_are_encoded_once_whatever_the_size_of_a_prefill_pass(
    early, tokenizer, prompts, monkeypatch, size, passes
) -> None:
    ours, _ = early
    expected = ids(generate(ours, tokenizer, prompts, 4, SAMPLED, SEEDS))
    calls = []
    ours.model.visual.register_forward_pre_hook(lambda module, args: calls.append(len(args[0])))
    monkeypatch.setattr(native, "prefill_prompts", lambda model: size)
    assert ids(generate(ours, tokenizer, prompts, 4, SAMPLED, SEEDS)) == expected
    pixels = [part for prompt in prompts for part in (prompt.pixel_values, prompt.pixel_values_videos)]
    assert len(calls) == passes
    assert sum(calls) == sum(len(part) for part in pixels if part is not None)


@pytest.mark.parametrize("setting", [GREEDY, SAMPLED])
def test_weights_that_are_not_numbers_are_an_error(ours, tokenizer, prompts, setting) -> None:
    ours.model.language_model.norm.weight.data[3] = torch.nan
    with pytest.raises(CheckpointError, match="logits that are not finite"):
        generate(ours, tokenizer, prompts, 2, setting, SEEDS)


def with_large_scores(model):
    """Attention scores of hundreds, as in the released Qwen2: queries and keys get a part that is always the same."""
    for layer in model.model.language_model.layers:
        attention = layer.self_attn
        for projection in (attention.q_proj, attention.k_proj):
            if projection.bias is None:  # Qwen3-VL normalises queries and keys instead
                continue
            with torch.no_grad():
                # The slowest pair of rotary coordinates of every head, so that distance hardly matters.
                projection.bias.view(-1, attention.head_dim)[:, attention.head_dim // 2 - 1] += 40
    return model


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_decoding_samples_from_the_policy_that_is_trained(
    ours, tokenizer, prompts, monkeypatch, autocast
) -> None:
    model = with_large_scores(ours)
    if not autocast:
        model = model.bfloat16()

    def mismatch() -> float:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            groups = generate(model, tokenizer, prompts, 2, SAMPLED, SEEDS)
            again = completion_logprobs(model, prompts, ids(groups), SAMPLED.temperature)
        flat = torch.tensor([value for group in groups for completion in group for value in completion.logprobs])
        return float((flat - again.logprobs_BL[again.mask_BL]).abs().mean())

    found = mismatch()
    monkeypatch.setattr(decode, "wide_product", lambda left, right: (left @ right).to(left.dtype).float())
    rounded = mismatch()
    print(f"bfloat16, autocast {autocast}: {found:.3f} nats a token, {rounded:.3f} with scores in 16 bits")
    assert found < 0.1
    if ours.model.language_model.layers[0].self_attn.q_proj.bias is not None:
        assert rounded > 2 * found


def test_static_shapes_are_shared_by_rollouts_of_other_lengths(ours, tokenizer, prompts, monkeypatch) -> None:
    lengths = sorted(len(prompt) for prompt in prompts)
    assert len(set(lengths)) == 3
    graphs = []

    def backend(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(decode, "STATIC_PROMPT", lengths[-1])
    compiled = torch.compile(native.next_logits, backend=backend, fullgraph=True)
    monkeypatch.setattr(native, "_compiled_next_logits", compiled)
    for prompt, seed in zip(prompts, SEEDS, strict=True):
        expected = generate(ours, tokenizer, [prompt], 2, SAMPLED, [seed])
        assert ids(generate(ours, tokenizer, [prompt], 2, SAMPLED, [seed], compiled=True)) == ids(expected)
    assert len(graphs) == 1
