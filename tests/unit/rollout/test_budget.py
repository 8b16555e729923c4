"""What is far too much is refused before memory is taken, and the message says what to lower."""

from pathlib import Path

import pytest

from sbr.config.inputs import DataConfig, FramesConfig, ModelConfig
from sbr.config.recipes import EvalRecipe
from sbr.errors import ConfigError
from sbr.resume.folder import Work
from sbr.rollout.ask import Asking, ask
from sbr.rollout.budget import check_budget
from sbr.rollout.sampling import Sampling

FRAMES = FramesConfig()


@pytest.mark.parametrize(
    ("batches", "size", "samples", "tokens", "frames", "message"),
    [
        (
            3,
            4,
            1_000_000,
            9,
            FRAMES,
            r"12,000,000 answers \(12 questions, 1,000,000 samples\), .*lower one of eval\.samples, the limit",
        ),
        (1, 20_000, 1, 9, FRAMES, r"20,000 answers at once \(20,000 questions, 1 samples\), and the most is 16,384"),
        (
            1,
            8,
            1,
            10**8,
            FRAMES,
            r"800,000,000 tokens at once .*eval\.samples, eval\.batch_size, eval\.max_new_tokens",
        ),
        (
            1,
            120,
            1,
            9,
            FramesConfig(height=2048, width=2048),
            r"bytes of pictures .*frames\.height",
        ),
    ],
)
def test_every_limit_is_said(sbr_sample, batches, size, samples, tokens, frames, message) -> None:
    with pytest.raises(ConfigError, match=message):
        check_budget("eval", [[sbr_sample()] * size] * batches, samples, tokens, frames)


def test_what_is_useful_is_allowed(sbr_sample) -> None:
    """vLLM: many questions at once, many long answers; the native engine: the whole benchmark in every rotation."""
    check_budget("eval", [[sbr_sample()] * 512] * 40, 16, 32_768, FRAMES)
    check_budget("eval", [[sbr_sample()] * 8] * 2338, 32, 4096, FramesConfig(max_frames=128))


def test_nothing_is_written_before(sbr_sample, tmp_path: Path) -> None:
    recipe = EvalRecipe(
        model=ModelConfig(path="sbr:mini"),
        data=DataConfig(root=tmp_path),
        output_dir=tmp_path / "out",
    )
    asking = Asking(
        Work("an evaluation", "--out"),
        "eval",
        recipe,
        [[sbr_sample()]],
        10**9,
        Sampling(),
        0,
        {},
        "r.jsonl",
        *[None] * 3,
    )
    with pytest.raises(ConfigError, match="1,000,000,000 answers"):
        ask(asking, lambda *_: None)
    assert not (tmp_path / "out").exists()
