"""What travels between the stages: Sample -> Frames -> Prompt -> RolloutGroup -> Score, and EvalRecord.

Legend of the shape suffixes used in the whole package:
    P  prompts in a batch            G  rollouts (completions) of one prompt      B = P * G
    S  tokens of a prompt            L  tokens of a completion                    V  vocabulary
    T  frames                        H, W, C  height, width, colour channels      N  vision patches, D  their width
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch

LETTERS = "ABCDE"
"""Option letters in order.  SEED-Bench-R1 uses the first four, LongVideoBench up to five."""


@dataclass(frozen=True, slots=True)
class ProgressStep:
    """One narrated action that was done before the question; frames count from the start of the uncut video.

    >>> ProgressStep("open cupboard", 689, 760).narration_text
    'open cupboard'
    """

    narration_text: str
    start_frame: int
    stop_frame: int


@dataclass(frozen=True, slots=True)
class VideoRange:
    """A clip that was not cut out of its recording: frames `first` to `last` of `file`, both included, from 0.

    Example, EgoPlan-Bench2 on Ego4D: VideoRange(ROOT/Ego4D/v1_288p/<uid>.mp4, first=0, last=656).
    """

    file: Path
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class FrameFolder:
    """A clip of numbered pictures, one file a frame: pictures `first` to `last`, both included, at `fps` a second.

    Example, EgoPlan-Bench on Epic-Kitchens: FrameFolder(ROOT/EPIC-KITCHENS/P01/rgb_frames/P01_13, first=36, last=760,
    fps=60.0), from frame_0000000036.jpg to frame_0000000760.jpg.
    """

    folder: Path
    first: int
    last: int
    fps: float

    def file(self, number: int) -> Path:
        return self.folder / f"frame_{number:010d}.jpg"


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One picture of a video: frame `number` of `file`, counted from 0."""

    file: Path
    number: int


class Shown(Protocol):
    """What has pictures to decode: a Sample, or a question of a CoT file (`sbr.data.sources.cot.CotQuestion`)."""

    @property
    def video(self) -> Path | VideoRange | FrameFolder | None: ...
    @property
    def image(self) -> Path | VideoFrame | None: ...


@dataclass(frozen=True, slots=True)
class Subtitle:
    """What is said from `start` to `end`, in seconds of the video.  Example: Subtitle("temples", 101.2, 103.0)."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One multiple-choice question as it is asked: the options are drawn and in their final order.

    Example: sample_id="115", split="L1", domain="Daily life", video=ROOT/videos/EpicKitchens/P01_13.mp4,
    task_goal="store cereal", options=("put cereal box into cupboard", "take cereal bag", "open cupboard",
    "put cereal bag into cereal box"), gold="A".
    `video` is None for a row without progress, `image` for a benchmark without a current observation (LongVideoBench).
    A path is a whole file.  Paths are absolute and inside the data root.
    """

    sample_id: str
    split: str
    """"train", or the level: "L1", "L2", "L3", "val"."""
    domain: str
    scenario: str | None
    video_source: str
    video_id: str
    video: Path | VideoRange | FrameFolder | None
    image: Path | VideoFrame | None
    task_goal: str | None
    """None where the question is about no task (LongVideoBench)."""
    question: str
    options: tuple[str, ...]
    gold: str
    """Letter of the right option."""
    progress: tuple[ProgressStep, ...] = ()
    groups: tuple[tuple[str, str], ...] = ()
    """Further names under which results can be reported, e.g. (("duration", "(8,15]"), ("category", "S2E"))."""
    subtitles: tuple[Subtitle, ...] | None = None
    """Not None: the frames are shown as single pictures with these texts between them."""
    rotation: int = 0
    """By how many places the options were rotated (eval.controls); 0 is the order of the benchmark."""

    @property
    def gold_text(self) -> str:
        return self.options[LETTERS.index(self.gold)]


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Decoded, sampled and resized pictures of one sample (uint8, RGB).

    Example at the paper's setting: video_THWC (16, 252, 252, 3), image_HWC (252, 252, 3), indices (0, 16, ..., 239),
    fps 30.0, total 240.  Without a video: video_THWC is None, indices is empty, fps None, total 0.  Without an image:
    image_HWC is None.
    """

    video_THWC: np.ndarray | None
    image_HWC: np.ndarray | None
    indices: tuple[int, ...]
    """Which frames of the clip were taken, in decoding order; a range counts from its own first frame."""
    fps: float | None
    """Frame rate of the clip."""
    total: int
    """Frames in the clip."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Model inputs of one sample, exactly as the checkpoint's own processor makes them (tokens without batch axis).

    Example at the paper's setting: input_ids_S (893,), pixel_values_videos (8*18*18, 1176) with video_grid_thw
    [[8, 18, 18]], pixel_values (18*18, 1176) with image_grid_thw [[1, 18, 18]].
    """

    text: str
    """The chat text before the media placeholders are expanded."""
    input_ids_S: torch.Tensor
    mm_token_type_ids_S: torch.Tensor
    """0 text, 1 image, 2 video: what transformers needs to lay out M-RoPE positions."""
    pixel_values: torch.Tensor | None
    image_grid_thw: torch.Tensor | None
    pixel_values_videos: torch.Tensor | None
    video_grid_thw: torch.Tensor | None
    second_per_grid_ts: torch.Tensor | None = None
    """(1,): seconds from one temporal patch of the video to the next; Qwen2.5-VL only, whose positions need it."""

    def __len__(self) -> int:
        return int(self.input_ids_S.shape[0])


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer.

    Example: token_ids (31, 7, ..., 2), logprobs of the same length (natural log of softmax(logits / temperature) of the
    sampling policy over the whole vocabulary; greedy: at temperature 1), text "<think>...</think><answer>B</answer>",
    truncated False.
    """

    token_ids: tuple[int, ...]
    """The end-of-turn token is included when the model produced it."""
    logprobs: tuple[float, ...]
    text: str
    """Decoded without special tokens."""
    truncated: bool
    """True when the token limit was reached before the end of turn."""


@dataclass(frozen=True, slots=True, eq=False)
class RolloutGroup:
    """The G completions of one prompt."""

    sample: Sample
    prompt: Prompt
    completions: tuple[Completion, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the one extractor read in a response.

    Example: Answer(letter="B", rule="official", reason="first character inside <answer> is B").
    """

    letter: str | None
    """None when the rule finds no answer; `reason` then says why."""
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Score:
    """The reward of one completion and its parts: reward = sum of weight * part."""

    reward: float
    accuracy: float
    """1 when the answer is the gold letter, else 0.  With reward noise the reward asks for `rewarded` instead."""
    format: float
    answer: Answer
    rewarded: str
    """The letter that earns the accuracy reward: the gold one, unless reward noise flipped it."""
    consistency: float
    """1, 0, or 0.5 when the rule cannot tell."""
    consistency_reason: str
    length: float
    """0 for a short answer, down to -1 at the token limit."""
    custom: tuple[tuple[str, float], ...] = ()
    """Rewards of the user's own by name, before their weights."""


@dataclass(frozen=True, slots=True)
class EvalRecord:
    """One answered question, one line of records.jsonl; the keys on disk are these field names.

    `sample_index` counts the k samples of one question (0 for greedy).
    """

    sample_id: str
    level: str
    domain: str
    sample_index: int
    prompt: str
    options: tuple[str, ...]
    response: str
    extracted: str | None
    gold: str
    correct: bool
    rule: str
    completion_tokens: int | None
    """None where a server does not say."""
    truncated: bool
    seconds: float
    video_id: str | None = None
    """Name of the uncut video; comparisons resample whole videos.  None in records older than this field."""
    scenario: str | None = None
    groups: tuple[tuple[str, str], ...] = ()
    """Further names under which results are reported, as in Sample.groups."""
    control: str = "none"
    """What was taken away from the question: "none", "blind" (video and image) or "no_video" (eval.controls)."""
    rotation: int = 0
    """By how many places the options were rotated; 0 is the order of the benchmark."""
