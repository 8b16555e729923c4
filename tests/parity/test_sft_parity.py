"""The loss of SFT and its gradients against transformers' own label loss and TRL's SFTTrainer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from plain_transformers import inputs, plain_model
from test_logprobs_parity import LENGTHS_PG, draw, gradients, largest_relative_error

from sbr.config.inputs import ModelConfig, PromptConfig
from sbr.data.rows.annotations import ChatMessage, ChatPart
from sbr.data.sources.cot import CotQuestion
from sbr.model.load import load_model, load_processor
from sbr.prompt.encode import PromptEncoder
from sbr.prompt.template import chat_messages, question_text
from sbr.train.sft.loop import learn_responses
from sbr.train.trainer import Policy, Trainer
from sbr.types import Prompt, Sample

CPU = torch.device("cpu")


def trainer_of(model: Any, processor: Any = None) -> Trainer:
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    return Trainer(Accelerator(cpu=True), Policy(model), None, processor, optimizer, schedule)


def ours_of(
    model: Any, prompts: Sequence[Prompt], responses_P: Sequence[Sequence[Sequence[int]]], size: int
) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one step of the training loop, in microbatches of `size` prompts."""
    model.zero_grad()
    loss = learn_responses(trainer_of(model), prompts, responses_P, size)
    return loss, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def pairs_of(prompts: Sequence[Prompt], responses_P: Sequence[Sequence[Sequence[int]]]) -> list[tuple[Prompt, Any]]:
    return [(prompt, response) for prompt, group in zip(prompts, responses_P, strict=True) for response in group]


def labelled(prompt: Prompt, response: Sequence[int]) -> dict[str, Any]:
    """One row of a plain batch: transformers' own arguments, labels on the response only."""
    row = inputs(prompt, response)
    return row | {"labels": torch.cat([torch.full((len(prompt),), -100), torch.tensor(response)])[None]}


def padded(rows: Sequence[dict[str, Any]], padding: int) -> dict[str, Any]:
    """The rows as one batch, padded at the right."""
    width = max(row["input_ids"].shape[1] for row in rows)
    fill = {"input_ids": padding, "labels": -100, "attention_mask": 0, "mm_token_type_ids": 0}
    batch: dict[str, Any] = {
        key: torch.cat([torch.nn.functional.pad(row[key], (0, width - row[key].shape[1]), value=value) for row in rows])
        for key, value in fill.items()
    }
    media = {key for row in rows for key in row if key not in fill}
    return batch | {key: torch.cat([row[key] for row in rows if key in row]) for key in media}


@pytest.fixture(params=[False, True], ids=["unpadded", "padded"])
def as_one_batch(request: pytest.FixtureRequest) -> bool:
    return request.param


def test_loss_and_gradients_are_transformers_label_loss(ours, plain, prompts, as_one_batch) -> None:
    """Three questions (one without video) of 4, 2 and 3 responses; `num_items_in_batch` makes one mean of all."""
    responses_P = draw(LENGTHS_PG)
    rows = [labelled(prompt, response) for prompt, response in pairs_of(prompts, responses_P)]
    tokens = sum(len(response) for group in responses_P for response in group)
    batches = [padded(rows, plain.generation_config.pad_token_id)] if as_one_batch else rows
    losses = [plain(**batch, num_items_in_batch=tokens).loss for batch in batches]
    expected = sum(losses).item()
    if as_one_batch:  # in one batch this is the label loss a user sees without naming the number of tokens
        assert plain(**batches[0]).loss.item() == pytest.approx(expected, abs=1e-6)
    expected_gradients = gradients(plain, sum(losses))
    for size in (3, 1, 2):
        loss, found = ours_of(ours, prompts, responses_P, size)
        relative = largest_relative_error(found, expected_gradients)
        print(
            f"microbatches of {size}: loss {loss:.6f}, difference {abs(loss - expected):.1e}; gradients {relative:.1e}"
        )
        assert loss == pytest.approx(expected, abs=1e-5)
        assert relative <= 1e-4


def test_the_mean_is_over_tokens_not_over_responses(ours, prompts) -> None:
    """The comparison above can fail: the mean of the means of the rows is another number."""
    responses_P = draw(LENGTHS_PG)
    whole, _ = ours_of(ours, prompts, responses_P, 3)
    rows = [ours_of(ours, [prompt], [[response]], 1)[0] for prompt, response in pairs_of(prompts, responses_P)]
    lengths = [len(response) for _, response in pairs_of(prompts, responses_P)]
    assert np.average(rows, weights=lengths) == pytest.approx(whole, abs=1e-5)
    assert abs(float(np.mean(rows)) - whole) > 1e-3


@pytest.mark.parametrize("train_vision", [True, False])
def test_frozen_vision_and_gradient_checkpointing(tiny_model_dir, plain, prompts, train_vision) -> None:
    config = ModelConfig(
        path=str(tiny_model_dir), dtype="float32", train_vision=train_vision, gradient_checkpointing=True
    )
    model = load_model(config, CPU)
    plain.model.visual.requires_grad_(train_vision)
    responses_P = draw(LENGTHS_PG, seed=1)
    rows = [labelled(prompt, response) for prompt, response in pairs_of(prompts, responses_P)]
    tokens = sum(len(response) for group in responses_P for response in group)
    expected = gradients(plain, sum(plain(**row, num_items_in_batch=tokens).loss for row in rows))
    _, found = ours_of(model, prompts, responses_P, 2)
    assert any(name.startswith("model.visual.") for name in found) == train_vision
    assert largest_relative_error(found, expected) <= 1e-4


RESPONSES = (
    "<think>the kettle is full</think><answer>A</answer>",
    "<think>no</think><answer>B</answer>",
    "<think>I see a red cup in the sink</think><answer>C</answer>",
)


def question_of(sample: Sample, responses: Sequence[str]) -> CotQuestion:
    """The sample as a CoT row asks it."""
    (turn,) = chat_messages(sample)
    parts = tuple(ChatPart(part["type"], part.get("text", "media")) for part in turn["content"])
    messages = (ChatMessage("user", parts),)
    video = sample.video if isinstance(sample.video, Path) else None
    image = sample.image if isinstance(sample.image, Path) else None
    return CotQuestion(sample.sample_id, "rows.jsonl:1", messages, video, image, tuple(responses), None)


@pytest.mark.parametrize("video", [True, False])
def test_a_chat_in_the_official_words_is_the_official_prompt(tiny_model_dir, sbr_sample, sbr_frames, video) -> None:
    encoder = PromptEncoder(load_processor(str(tiny_model_dir)), PromptConfig())
    side = 2 * encoder.size_factor
    frames = sbr_frames(count=4 if video else 0, height=side, width=side)
    sample = sbr_sample(video=video)
    found, expected = encoder.encode_question(question_of(sample, RESPONSES), frames), encoder.encode(sample, frames)
    assert found.text == expected.text
    assert torch.equal(found.input_ids_S, expected.input_ids_S)
    assert torch.equal(found.mm_token_type_ids_S, expected.mm_token_type_ids_S)
    assert torch.equal(found.pixel_values, expected.pixel_values)


def test_the_loss_is_that_of_trl_on_text_and_an_image(tiny_model_dir, sbr_sample, sbr_frames, tmp_path) -> None:
    """TRL takes no video, so the questions show an image; what it learns is the text behind the prompt.

    In TRL a conversation would also teach the newline that the chat template writes behind the end of turn, which no
    model ever writes; so prompts and completions are given as texts here.
    """
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    processor = load_processor(str(tiny_model_dir))
    if type(processor).__name__ != "Qwen2VLProcessor":
        pytest.skip("one family is enough: the model's loss is compared for all of them above")
    encoder = PromptEncoder(processor, PromptConfig())
    side = 2 * encoder.size_factor
    samples = [sbr_sample(str(i), video=False, question=f"What now, {i * 'really '}?") for i in range(3)]
    frames = [sbr_frames(seed=i, count=0, height=side, width=side) for i in range(3)]
    questions = [question_of(*pair) for pair in zip(samples, ([text] for text in RESPONSES), strict=True)]
    prompts = [encoder.encode_question(*pair) for pair in zip(questions, frames, strict=True)]
    responses_P = [encoder.encode_responses(question) for question in questions]

    rows = [
        {"prompt": prompt.text, "completion": f"{text}<|im_end|>", "images": [Image.fromarray(shown.image_HWC)]}
        for prompt, text, shown in zip(prompts, RESPONSES, frames, strict=True)
    ]
    assert all(question_text(sample) in row["prompt"] for sample, row in zip(samples, rows, strict=True))
    processor.image_processor.do_resize = False
    plain = plain_model(tiny_model_dir)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = trl.SFTTrainer(
            model=plain,
            args=trl.SFTConfig(
                output_dir=str(tmp_path),
                per_device_train_batch_size=3,
                completion_only_loss=True,
                max_length=None,
                bf16=False,
                use_cpu=True,
                report_to="none",
                gradient_checkpointing=False,
            ),
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=processor,
        )
        (batch,) = trainer.get_train_dataloader()
        labels = sorted(tuple(row[row != -100].tolist()) for row in batch["labels"])
        assert labels == sorted(response for (response,) in responses_P)  # it learns the very same tokens
        plain.eval()
        loss = trainer.compute_loss(plain, dict(batch))
    expected = gradients(plain, loss)
    found, our_gradients = ours_of(
        load_model(ModelConfig(path=str(tiny_model_dir), dtype="float32"), CPU), prompts, responses_P, 2
    )
    relative = largest_relative_error(our_gradients, expected)
    print(f"TRL: loss {loss.item():.6f}, difference {abs(loss.item() - found):.1e}; gradients {relative:.1e}")
    assert found == pytest.approx(loss.item(), abs=1e-5)
    assert relative <= 1e-4
