"""A GRPO step of TRL's GRPOTrainer on a folder's model, as a user runs it on a CPU.

TRL takes no video, so the 17 pictures go in as images.  Everything that a setting decides is TRL's default, except:
beta 0.1 (it has a reference), float32, no gradient checkpointing (which favours it), nothing logged or saved.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from geometry import SAMPLE, Size, forbid_special_tokens, make_model
from PIL import Image
from transformers import Qwen2VLForConditionalGeneration, Qwen2VLProcessor, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from sbr.prompt.template import question_text


class _Watch(TrainerCallback):
    """Time from the start of a step, its batch fetched, to the end of the optimizer's step; then `between`."""

    def __init__(self, between: Callable[[], None]) -> None:
        self.seconds: list[float] = []
        self.tokens_seen: list[int] = []
        self._between = between

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds.append(time.perf_counter() - self._start)
        self.tokens_seen.append(int(state.num_input_tokens_seen))
        self._between()


def trl_steps(
    size: Size,
    processor: Qwen2VLProcessor,
    images: list[Image.Image],
    prompt_tokens: int,
    group_size: int,
    tokens: int,
    runs: int,
    between: Callable[[], None],
) -> list[float]:
    """Seconds of `runs` steps; `between` is called after each.

    Raises AssertionError unless every completion has `tokens` tokens and the prompt `prompt_tokens`.
    """
    lengths: list[int] = []

    def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
        lengths.extend(len(ids) for ids in completion_ids)
        return [float(place % 2) for place in range(len(completion_ids))]

    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start"
        make_model(size, processor).save_pretrained(start)  # TRL loads its reference from here
        processor.save_pretrained(start)
        policy = Qwen2VLForConditionalGeneration.from_pretrained(start, dtype="float32", attn_implementation="sdpa")
        forbid_special_tokens(policy, processor)
        watch = _Watch(between)
        rows = [{"prompt": [{"role": "user", "content": question_text(SAMPLE)}], "images": images}]
        trainer = GRPOTrainer(
            model=policy,
            reward_funcs=reward,
            args=GRPOConfig(
                output_dir=str(Path(folder) / "run"),
                per_device_train_batch_size=group_size,
                num_generations=group_size,
                max_completion_length=tokens,
                max_steps=runs,
                num_iterations=1,
                beta=0.1,
                learning_rate=1e-6,
                bf16=False,
                gradient_checkpointing=False,
                use_cpu=True,
                use_vllm=False,
                logging_strategy="no",
                save_strategy="no",
                eval_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=0,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=processor,
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    expected = group_size * (prompt_tokens + tokens)
    seen = [after - before for before, after in zip([0, *watch.tokens_seen], watch.tokens_seen, strict=False)]
    if set(lengths) != {tokens} or set(seen) != {expected} or len(watch.seconds) != runs:
        raise AssertionError(f"TRL did other work: completions of {lengths}, {seen} tokens a step, expected {expected}")
    if not all(parameter.dtype == torch.float32 for parameter in trainer.model.parameters()):
        raise AssertionError("TRL changed the precision of the weights; the comparison would not be fair")
    return watch.seconds
