"""Sections that say what goes in: the model, its adapters, the data, the frames, the prompt."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sbr.config.budgets import check_frames
from sbr.config.section import Count, DType, Place, Section, Seed, SharePart, Source, Text


class ModelConfig(Section):
    path: Text
    """Hugging Face folder or hub name; `sbr:mini` is the base model shipped with the package."""
    dtype: DType = "bfloat16"
    """Precision of the passes; weights that are trained are kept as train.weights says."""
    train_vision: bool = True
    """False freezes the vision tower."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: much less memory, about a third more time."""


class LoraConfig(Section):
    """Train low-rank adapters only (LoRA, arXiv 2106.09685).  Without this section all weights are trained."""

    rank: Annotated[int, Field(ge=1, le=8192)] = 64
    """Columns of the smaller matrices."""
    alpha: Annotated[int, Field(ge=1, le=2**16)] = 128
    """The product of the two matrices is scaled by alpha / rank."""
    dropout: SharePart = 0.0
    """Above 0 the policy that learns differs from the one that sampled, and from that of the old log-probabilities."""
    target_modules: tuple[Text, ...] | None = None
    """Last parts of the names of linear layers, such as q_proj (None: all linear layers)."""
    vision: bool = False
    """Adapters in the vision tower too; needs model.train_vision."""


class DataConfig(Section):
    root: Place
    """Folder of the data, laid out as its source asks for (docs/formats.md)."""
    source: Source = "seed_bench_r1"
    """Whose files lie in `root`: the SEED-Bench-R1 release (L1, L2, L3), EgoPlan-Bench (L1, L2), EgoPlan-Bench2 (L3) or
    LongVideoBench (val)."""
    train_file: Text = "training_6k.jsonl"
    """Annotations that GRPO trains on.  Of EgoPlan-Bench: EgoPlan_IT.json."""
    cot_file: Text = "training_with_cot_6k.jsonl"
    """Chats with responses to learn, for SFT: a name lies in <root>/annotations, a path with a "/" lies where it says.
    Media paths in it are relative to `root`."""
    subtitles: bool = False
    """LongVideoBench only: show the frames as single pictures, twice the tokens, with the subtitles between them."""
    limit: Count | None = None
    """Use only the first rows of the file (None: all)."""
    seed: Seed = 0
    """Seed of drawing three negatives and shuffling the options of a training row."""
    cache: Literal["off", "auto", "on"] = "auto"
    """Frames kept by `sbr data cache`.  auto: use what is there and replace what is damaged or outdated; on: also keep
    what had to be decoded.  The frames are the same."""
    cache_dir: Place | None = None
    """Where they are kept (None: <root>/.cache/sbr_frames)."""


class FramesConfig(Section):
    """Official sampling: facts in docs/faithfulness.md, section "Frames"."""

    fps: Annotated[float, Field(ge=0.001, le=1000)] = 2.0
    """Frames taken a second of video."""
    min_frames: Annotated[int, Field(ge=2, le=4096)] = 4
    """Fewest frames of a clip, as far as it has them."""
    max_frames: Annotated[int, Field(ge=2, le=4096)] = 16
    """Most frames of a clip."""
    height: Annotated[int, Field(ge=28, le=8192)] = 256
    """Of a frame in pixels, rounded to what the model takes (252)."""
    width: Annotated[int, Field(ge=28, le=8192)] = 256
    """The same across."""

    @property
    def sample_bytes(self) -> int:
        """Of the decoded frames of one sample, at most."""
        return 3 * self.max_frames * self.height * self.width

    @model_validator(mode="after")
    def _fits(self) -> FramesConfig:
        check_frames(self.max_frames, self.height, self.width)
        return self


class PromptConfig(Section):
    max_tokens: Annotated[int, Field(ge=1, le=2**20)] = 16384
    """A longer prompt is an error; media tokens are never cut."""
