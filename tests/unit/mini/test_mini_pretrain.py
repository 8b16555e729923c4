"""The base model's parts, and a pretraining run of a few steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb

from sbr.config.inputs import FramesConfig
from sbr.errors import ConfigError
from sbr.mini.base_model import TAGS, build_model, build_processor, build_tokenizer
from sbr.mini.corpus import vocabulary
from sbr.mini.pretrain import pretrain
from sbr.mini.pretrain_recipe import Phase, PretrainRecipe
from sbr.mini.world import ALL_TASKS, NOUNS, VERBS


def test_every_word_is_one_token_and_any_text_comes_back() -> None:
    tokenizer = build_tokenizer(vocabulary())
    for word in (*VERBS, *NOUNS):
        assert len(tokenizer.tokenize(f" {word}")) == 1, word
    for tag in TAGS:
        assert tokenizer.tokenize(tag) == [tag]
    text = "<think> naïve 猫 \U0001f600</think><answer>B</answer>"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    goals = [task.goal for task in ALL_TASKS]
    assert max(len(tokenizer.tokenize(f" {goal}")) for goal in goals) <= 6


def test_chat_template_renders_the_qwen2_vl_layout() -> None:
    processor = build_processor(build_tokenizer(vocabulary()))
    content = [{"type": "video"}, {"type": "image"}, {"type": "text", "text": "hi"}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    assert text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        "<|vision_start|><|video_pad|><|vision_end|><|vision_start|><|image_pad|><|vision_end|>hi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(("head", "offset"), [(0, 1), (1, 2), (2, 3)])
def test_look_back_heads_attend_to_their_offset(head: int, offset: int) -> None:
    model = build_model(build_tokenizer(vocabulary()), seed=0)
    language = model.model.language_model
    attention = language.layers[0].self_attn
    blank = torch.zeros(1, 12, language.config.hidden_size)
    cos, sin = language.rotary_emb(blank, torch.arange(12).expand(3, 1, -1))
    query = attention.q_proj(blank).view(1, 12, -1, attention.head_dim).transpose(1, 2)
    key = attention.k_proj(blank).view(1, 12, -1, attention.head_dim).transpose(1, 2)
    query, key = apply_rotary_pos_emb(query, key, cos, sin)
    scores = query[0, head, 10] @ key[0, 0].T * attention.scaling
    assert int(scores[:11].argmax()) == 10 - offset
    assert scores[:11].softmax(-1).max() > 0.9


def tiny(tmp_path: Path, workers: int = 0) -> PretrainRecipe:
    phase = Phase(steps=2, captions=2, most_actions=2, drills=2, lookups=1, questions=2, responses=2)
    return PretrainRecipe(
        output_dir=tmp_path / "run",
        phases=(phase,),
        frames=FramesConfig(height=56, width=56),
        warmup_steps=0,
        pictures=4,
        workers=workers,
    )


def test_pretraining_learns_repeats_itself_and_leaves_an_ordinary_folder(tmp_path: Path) -> None:
    recipe = tiny(tmp_path)
    losses = []
    folder = pretrain(recipe, lambda metrics: losses.append((metrics.caption, metrics.drill, metrics.question)))
    assert losses[1][1] < losses[0][1]
    again = []
    other = recipe.model_copy(update={"output_dir": tmp_path / "again"})
    pretrain(other, lambda metrics: again.append((metrics.caption, metrics.drill, metrics.question)))
    assert again == losses
    lines = [json.loads(line) for line in (recipe.output_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert (recipe.output_dir / "loss.png").stat().st_size > 1000
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert model.config.model_type == "qwen2_vl"
    assert AutoProcessor.from_pretrained(folder).chat_template
    with pytest.raises(ConfigError, match="already holds"):
        pretrain(recipe, lambda _: None)
