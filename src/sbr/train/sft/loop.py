"""Supervised fine-tuning: take questions, look, learn their responses.

    questions -> slots of a step -> frames -> prompts -> log-probabilities of all responses -> loss -> update

A step takes `train.prompts_per_step` questions, each with all its responses, which share one computation of the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sbr.algo.sft import sft_loss
from sbr.config.recipes import SftRecipe
from sbr.data.sources.cot import CotQuestion, hold_out, load_cot_questions
from sbr.errors import CheckpointError
from sbr.frames.cache import open_cache
from sbr.model.tokens import end_tokens
from sbr.train import journal, run_folder
from sbr.train.gradients import accumulate, apply_gradients, mean_over_processes
from sbr.train.learner import Bench, Course, Done, Share, Watcher
from sbr.train.order import total_steps
from sbr.train.run import processes, run_training
from sbr.train.sft.metrics import SftMetrics, SftPart, combine
from sbr.train.trainer import Trainer
from sbr.train.validation import Validation
from sbr.types import Prompt


def train_sft(recipe: SftRecipe, resume: bool, watcher: Watcher | None = None) -> None:
    """Train the model of `recipe` on its CoT file; leaves metrics, checkpoints and final/ as `train_grpo` does.

    Raises ConfigError or CheckpointError when the run may not start, BusyError when another one writes its folder,
    DataError or MediaError when a row cannot be used (nothing is skipped), SbrError when a gradient is not finite.
    """
    run_folder.check_start(recipe, resume)
    course = sft_course(recipe, "SFT")
    with processes(recipe, resume) as accelerator:
        run_training(course, accelerator, watcher)


def sft_course(recipe: SftRecipe, name: str) -> Course[CotQuestion, SftPart, SftMetrics]:
    """What the run of `recipe` learns.  Raises DataError and ConfigError for rows that cannot be learned."""
    every = load_cot_questions(recipe.data)
    questions, held_out = hold_out(every, recipe.data, recipe.validation.share, recipe.train.seed)
    total_steps(len(questions), recipe.train)  # may refuse

    def make_learner(bench: Bench) -> SftLearner:
        return SftLearner(recipe, bench)

    cache = open_cache(recipe.data)
    validation = Validation(recipe, cache, held_out)
    return Course(name, recipe, recipe.model, questions, cache, validation, None, 1.0, None, make_learner)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Questions of one microbatch with all their responses."""

    prompts: Sequence[Prompt]
    responses_P: Sequence[Sequence[Sequence[int]]]


@dataclass(frozen=True, slots=True)
class LearnedRow:
    """A question of a step whose gradient was not finite, one line of its file."""

    step: int
    slot: int
    sample_id: str
    responses: tuple[str, ...]


class SftLearner:
    """One step of SFT, a `sbr.train.learner.Learner`.  Raises CheckpointError where a model would not learn to end."""

    def __init__(self, recipe: SftRecipe, bench: Bench) -> None:
        self._recipe = recipe
        self._trainer = bench.trainer
        self._encoder = bench.encoder
        ends = end_tokens(bench.trainer.model)
        if bench.encoder.end_of_turn not in ends:
            raise CheckpointError(
                f"{recipe.model.path}: the chat template ends a turn with token {bench.encoder.end_of_turn}, and "
                f"generation_config.json stops at {ends}: the model would learn to go on; add the token to its "
                "eos_token_id"
            )

    def take_step(self, share: Share[CotQuestion]) -> SftPart:
        train, asked = self._recipe.train, [slot.sample for slot in share.slots]
        with share.clock("frames"):
            prompts = [self._encoder.encode_question(*pair) for pair in zip(asked, share.frames, strict=True)]
            responses_P = [self._encoder.encode_responses(question) for question in asked]
        folder, process = self._recipe.output_dir, self._trainer.accelerator.process_index

        def learned() -> list[LearnedRow]:
            return [
                LearnedRow(share.step, slot.index, slot.sample.sample_id, slot.sample.responses) for slot in share.slots
            ]

        with share.clock("update"), journal.kept_if_broken(folder, share.step, process, learned):
            size, most = train.prompts_per_microbatch, train.completions_per_microbatch
            loss = learn_responses(self._trainer, prompts, responses_P, size, most)
            norm = apply_gradients(self._trainer, train.max_grad_norm, share.step)
        responses = [response for responses in responses_P for response in responses]
        return SftPart(loss, rows=len(responses), tokens=sum(map(len, responses)), grad_norm=norm)

    def join(self, done: Done, parts: Sequence[SftPart]) -> SftMetrics:
        return combine(done, parts)


def learn_responses(
    trainer: Trainer,
    prompts: Sequence[Prompt],
    responses_P: Sequence[Sequence[Sequence[int]]],
    size: int,
    most: int | None = None,
) -> float:
    """Gradients of the loss of a step, in microbatches of `size` prompts; returns this process's part of the loss.

    With `most` a microbatch is one prompt with at most so many of its responses.
    The mean is over the response tokens of all processes, whatever the sizes of the microbatches.
    """
    (tokens,) = mean_over_processes(trainer, sum(len(response) for responses in responses_P for response in responses))

    def loss_of(rows: Rows) -> tuple[Tensor, float]:
        found = trainer.policy(rows.prompts, rows.responses_P)
        loss = sft_loss(found.logprobs_BL, found.mask_BL, tokens)
        return loss, loss.item()

    if most is None:
        starts = range(0, len(prompts), size)
        rows = [Rows(prompts[start : start + size], responses_P[start : start + size]) for start in starts]
    else:
        rows = [
            Rows([prompt], [responses[start : start + most]])
            for prompt, responses in zip(prompts, responses_P, strict=True)
            for start in range(0, len(responses), most)
        ]
    return sum(accumulate(trainer, rows, loss_of)) / trainer.accelerator.num_processes
