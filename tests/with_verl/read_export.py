"""Run by verl's own Python (tests/parity/test_verl_reads_export.py): verl on an export, without this project.

    read_export.py EXPORT CHECKPOINT ANSWERS OVERRIDES OUT

EXPORT is a folder of `sbr export verl`, CHECKPOINT one with a processor, ANSWERS the golden answers, OVERRIDES a JSON
list of words of `verl.trainer.main_ppo`.  OUT becomes a torch file: inputs of every row, verdicts of every answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from verl import DataProto
from verl.trainer.ppo.metric_utils import process_validation_metrics
from verl.trainer.ppo.reward import load_reward_manager
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.utils.tokenizer import build_multimodal_processor_inputs, hf_processor, hf_tokenizer


def configuration(words: list[str]) -> DictConfig:
    """verl's own defaults with `words`: a key must be there unless its word begins with +."""
    config = OmegaConf.load(str(resources.files("verl") / "trainer" / "config" / "_generated_ppo_trainer.yaml"))
    assert isinstance(config, DictConfig)
    for word in words:
        key, _, value = word.partition("=")
        parsed = OmegaConf.to_container(OmegaConf.from_dotlist([f"x={value}"]))
        assert isinstance(parsed, dict)
        missing = object()
        assert key.startswith("+") or OmegaConf.select(config, key, default=missing) is not missing, key
        OmegaConf.update(config, key.removeprefix("+"), parsed["x"], force_add=True)
    return config


def rows(export: Path, checkpoint: str, config: DictConfig) -> dict[str, Any]:
    tokenizer, processor = hf_tokenizer(checkpoint), hf_processor(checkpoint)
    config.data.cache_dir = str(export.parent / "cache")
    config.data.filter_overlong_prompts = True  # also counts the tokens of every prompt
    files = [str(export / "train.parquet"), *map(str, config.data.val_files)]
    dataset = RLHFDataset(files, tokenizer, config.data, processor)
    found: dict[str, Any] = {}
    for number in range(len(dataset)):
        row = dataset[number]
        chat = row["raw_prompt"]
        images, videos, _ = dataset._process_multi_modal_info(chat, dataset.image_patch_size, config.data)
        text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        given = OmegaConf.to_container(config.data.mm_processor_kwargs)
        inputs = build_multimodal_processor_inputs(
            processor, text=[text], images=images, videos=videos, mm_processor_kwargs=given
        )
        found[f"{row['data_source']}/{row['extra_info']['sample_id']}"] = {
            "inputs": {key: torch.as_tensor(value) for key, value in inputs.items()},
            "ground_truth": row["reward_model"]["ground_truth"],
        }
    return found


def verdicts(answers: Path, checkpoint: str, config: DictConfig) -> list[dict[str, Any]]:
    """Every answer through verl's loader of custom rewards and its naive reward manager, in tokens."""
    tokenizer = hf_tokenizer(checkpoint)
    manager = load_reward_manager(config, tokenizer)
    found: list[dict[str, Any]] = []
    for line in answers.read_text("utf-8").splitlines():
        case = json.loads(line)
        ids = tokenizer(case["response"], add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == case["response"], case["name"]
        data = DataProto.from_dict(
            tensors={
                "responses": torch.tensor([[*ids, tokenizer.pad_token_id]]),
                "attention_mask": torch.tensor([[1] * (len(ids) + 1) + [0]]),  # one token of prompt, one of padding
            },
            non_tensors={
                "data_source": np.array(["golden"], dtype=object),
                "reward_model": np.array([{"ground_truth": "B", "style": "rule"}], dtype=object),
                "extra_info": np.array([{"options": case["options"], "index": 0}], dtype=object),
            },
        )
        found.append(manager.loop.run_until_complete(manager.run_single(data)))
    return found


def main() -> None:
    export, checkpoint, answers, words, out = sys.argv[1:]
    asyncio.set_event_loop(asyncio.new_event_loop())
    config = configuration(json.loads(words))
    scored = verdicts(Path(answers), checkpoint, config)
    extras = {key: [one["reward_extra_info"][key] for one in scored] for key in scored[0]["reward_extra_info"]}
    metrics = process_validation_metrics(["golden"] * len(scored), [str(i) for i in range(len(scored))], extras)
    mean = metrics["golden"]["acc"]["mean@1"]
    torch.save({"rows": rows(Path(export), checkpoint, config), "verdicts": scored, "accuracy": float(mean)}, out)


if __name__ == "__main__":
    main()
