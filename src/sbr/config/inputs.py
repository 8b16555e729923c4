"""Sections that say what goes in: the model, its adapters, the data, the frames, the prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from sbr.config.section import DType, Section, Source


class ModelConfig(Section):
    path: str
    """Hugging Face folder or hub name; `sbr:mini` is the base model shipped with the package."""
    dtype: DType = "bfloat16"
    train_vision: bool = True
    """False freezes the vision tower."""
    gradient_checkpointing: bool = False


class LoraConfig(Section):
    """Train low-rank adapters only (LoRA, arXiv 2106.09685).  Without this section all weights are trained."""

    rank: int = Field(default=64, ge=1)
    alpha: int = Field(default=128, ge=1)
    """The product of the two matrices is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Above 0 the policy that learns differs from the one that sampled, and from that of the old log-probabilities."""
    target_modules: tuple[str, ...] | None = None
    """Last parts of the names of linear layers, such as q_proj (None: all linear layers)."""
    vision: bool = False
    """Adapters in the vision tower too; needs model.train_vision."""


class DataConfig(Section):
    root: Path
    """Folder of the data, laid out as its source asks for (docs/formats.md)."""
    source: Source = "seed_bench_r1"
    """Whose files lie in `root`: the SEED-Bench-R1 release (L1, L2, L3), EgoPlan-Bench (L1, L2), EgoPlan-Bench2 (L3) or
    LongVideoBench (val)."""
    train_file: str = "training_6k.jsonl"
    """Of EgoPlan-Bench: EgoPlan_IT.json."""
    cot_file: str = "training_with_cot_6k.jsonl"
    """Chats with responses to learn, for SFT: a name lies in <root>/annotations, a path with a "/" lies where it says.
    Media paths in it are relative to `root`."""
    subtitles: bool = False
    """LongVideoBench only: show the frames as single pictures, twice the tokens, with the subtitles between them."""
    limit: int | None = Field(default=None, ge=1)
    """Use only the first rows of the file (None: all)."""
    seed: int = 0
    """Seed of drawing three negatives and shuffling the options of a training row."""
    cache: Literal["off", "auto", "on"] = "auto"
    """Frames kept by `sbr data cache`.  auto: use what is there and replace what is damaged or outdated; on: also keep
    what had to be decoded.  The frames are the same."""
    cache_dir: Path | None = None
    """Where they are kept (None: <root>/.cache/sbr_frames)."""


class FramesConfig(Section):
    """Official sampling: facts in docs/faithfulness.md, section "Frames"."""

    fps: float = Field(default=2.0, gt=0)
    min_frames: int = Field(default=4, ge=2)
    max_frames: int = Field(default=16, ge=2)
    height: int = Field(default=256, ge=28)
    width: int = Field(default=256, ge=28)


class PromptConfig(Section):
    max_tokens: int = Field(default=16384, ge=1)
    """A longer prompt is an error; media tokens are never cut."""
