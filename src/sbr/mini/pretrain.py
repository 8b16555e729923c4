"""Trains the miniature's base model from scratch: `sbr mini pretrain recipes/mini/pretrain.toml`.

Every optimizer step draws lessons (corpus.py), computes the mean log-likelihood of the answers' tokens with the prompt
computed once per lesson (model/logprobs.py), and updates: Muon for the matrices inside the layers, AdamW for the rest.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import Qwen2VLForConditionalGeneration, Qwen2VLProcessor, get_scheduler, set_seed

from sbr.analysis.curves import WINDOW, Curve, line_of
from sbr.config.load import write_resolved
from sbr.mini.base_model import build_model, build_processor, build_tokenizer
from sbr.mini.corpus import Lesson, LessonMaker, vocabulary
from sbr.mini.pretrain_recipe import PretrainRecipe, refuse_used_folder
from sbr.model.equip import equip
from sbr.model.logprobs import completion_logprobs
from sbr.prompt.encode import PromptEncoder, encode_chat
from sbr.report import figures
from sbr.types import Prompt


@dataclass(frozen=True, slots=True)
class LessonBatch:
    """The lessons of one kind in one step; every prompt has the same number of answers."""

    kind: str
    prompts: tuple[Prompt, ...]
    responses_PG: tuple[tuple[tuple[int, ...], ...], ...]


@dataclass(frozen=True, slots=True)
class PretrainMetrics:
    """One line of metrics.jsonl: mean negative log-likelihood (nats a token) of every kind of lesson."""

    step: int
    caption: float | None
    drill: float | None
    lookup: float | None
    question: float | None
    letter_accuracy: float | None
    """Share of answers with a letter whose letter is the model's most probable one, given their own reasoning."""
    learning_rate: float
    seconds: float


class LessonSteps(Dataset[list[LessonBatch]]):
    """Item i holds the encoded lessons of optimizer step i."""

    def __init__(self, recipe: PretrainRecipe, processor: Qwen2VLProcessor) -> None:
        self.recipe = recipe
        self.maker = LessonMaker(recipe.frames, recipe.seed, recipe.pictures)
        self.processor = processor
        self.encoder = PromptEncoder(processor, recipe.prompt)
        self.phase_of_step = [phase for phase in recipe.phases for _ in range(phase.steps)]

    def __len__(self) -> int:
        return len(self.phase_of_step)

    def __getitem__(self, step: int) -> list[LessonBatch]:
        phase = self.phase_of_step[step]

        def numbers(count: int) -> range:
            return range(step * 1000, step * 1000 + count)

        kinds = {
            "caption": [self.maker.caption(n, phase.most_actions) for n in numbers(phase.captions)],
            "drill": [self.maker.drill(n) for n in numbers(phase.drills)],
            "lookup": [self.maker.lookup(n, phase.responses) for n in numbers(phase.lookups)],
            "question": [self.maker.question(n, phase.responses, phase.looks) for n in numbers(phase.questions)],
        }
        return [self._encode(kind, lessons) for kind, lessons in kinds.items() if lessons]

    def _encode(self, kind: str, lessons: Sequence[Lesson]) -> LessonBatch:
        prompts = tuple(self._prompt(lesson) for lesson in lessons)
        tokenizer = self.processor.tokenizer
        end = tokenizer.eos_token_id
        answers = tuple(
            tuple((*tokenizer(text, add_special_tokens=False).input_ids, end) for text in lesson.responses)
            for lesson in lessons
        )
        return LessonBatch(kind, prompts, answers)

    def _prompt(self, lesson: Lesson) -> Prompt:
        if lesson.sample is not None and lesson.frames is not None:
            return self.encoder.encode(lesson.sample, lesson.frames)
        media = [] if lesson.frames is None else [{"type": "video"}]
        messages = [{"role": "user", "content": [*media, {"type": "text", "text": lesson.text}]}]
        return encode_chat(self.processor, messages, lesson.frames, [])


def pretrain(recipe: PretrainRecipe, on_step: Callable[[PretrainMetrics], None]) -> Path:
    """Train and save; returns the folder of the finished model.  `on_step` is called after every optimizer step."""
    run = recipe.output_dir
    refuse_used_folder(recipe)
    run.mkdir(parents=True, exist_ok=True)
    write_resolved(recipe, run / "recipe.json")
    set_seed(recipe.seed)
    tokenizer = build_tokenizer(vocabulary())
    processor = build_processor(tokenizer)
    model = build_model(tokenizer, recipe.seed)
    equip(model)
    model.train()
    muon, adamw = _optimizers(model, recipe)
    schedules = [
        get_scheduler("linear", optimizer, num_warmup_steps=recipe.warmup_steps, num_training_steps=recipe.steps)
        for optimizer in (muon, adamw)
    ]
    loader = DataLoader(
        LessonSteps(recipe, processor),
        batch_size=None,
        num_workers=recipe.workers,
        prefetch_factor=4 if recipe.workers else None,
    )
    letters = torch.tensor(tokenizer.convert_tokens_to_ids(list("ABCD")))
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as metrics_file:
        started = time.perf_counter()
        for step, batches in enumerate(loader):
            losses: dict[str, float] = {}
            hits: list[float] = []
            for batch in batches:
                loss, hit = _answer_loss(model, batch, letters, recipe.letter_weight)
                loss.backward()
                losses[batch.kind] = loss.item()
                hits += hit
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in (muon, adamw):
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            for schedule in schedules:
                schedule.step()
            metrics = PretrainMetrics(
                step=step + 1,
                caption=losses.get("caption"),
                drill=losses.get("drill"),
                lookup=losses.get("lookup"),
                question=losses.get("question"),
                letter_accuracy=float(np.mean(hits)) if hits else None,
                learning_rate=adamw.param_groups[0]["lr"],
                seconds=time.perf_counter() - started,
            )
            metrics_file.write(json.dumps(asdict(metrics)) + "\n")
            metrics_file.flush()
            on_step(metrics)
    folder = run / "final"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    draw_curves(run / "metrics.jsonl", run / "loss.png")
    return folder


def draw_curves(metrics: Path, picture: Path) -> None:
    """Loss of every kind of lesson, and how often the letter is known, over the steps of a metrics.jsonl."""
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]

    def points(key: str) -> list[tuple[int, float]]:
        return [(row["step"], row[key]) for row in rows if row[key] is not None]

    kinds = ("caption", "drill", "lookup", "question")
    losses = tuple(line_of(kind, points(kind), WINDOW) for kind in kinds if points(kind))
    letters = (line_of("letter", points("letter_accuracy"), WINDOW),)
    figures.draw_curves(
        [Curve("Loss", "nats a token", "", losses), Curve("Answers with p(letter) > 1/2", "%", "", letters)], picture
    )


def _answer_loss(
    model: Qwen2VLForConditionalGeneration, batch: LessonBatch, letters: torch.Tensor, letter_weight: float
) -> tuple[torch.Tensor, list[float]]:
    """Weighted mean negative log-likelihood of the answer tokens; for each answer with a letter, whether p > 1/2."""
    result = completion_logprobs(model, batch.prompts, batch.responses_PG)
    weights_BL = result.mask_BL.float()
    tokens_BL = torch.zeros(weights_BL.shape, dtype=torch.long)
    rows = [answer for answers in batch.responses_PG for answer in answers]
    for row, answer in enumerate(rows):
        tokens_BL[row, : len(answer)] = torch.tensor(answer)
    is_letter_BL = torch.isin(tokens_BL, letters)
    weights_BL[is_letter_BL] *= letter_weight
    loss = -(result.logprobs_BL * weights_BL).sum() / weights_BL.sum()
    return loss, (result.logprobs_BL.detach()[is_letter_BL] > math.log(0.5)).float().tolist()


def _optimizers(
    model: Qwen2VLForConditionalGeneration, recipe: PretrainRecipe
) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon (momentum orthogonalised by Newton-Schulz) for the layers' matrices, AdamW for embeddings, norms, biases."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and (".layers." in name or ".blocks." in name)]
    inside = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in inside]
    muon = torch.optim.Muon(matrices, lr=recipe.muon_learning_rate, momentum=0.95, weight_decay=0.0)
    adamw = torch.optim.AdamW(rest, lr=recipe.adamw_learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    return muon, adamw
