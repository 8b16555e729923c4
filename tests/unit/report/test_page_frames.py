"""Pictures of a question as one sprite: where every frame stands, and that it is the frame."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from report_runs import answer, evaluation, sample_of

from sbr.errors import ConfigError
from sbr.report.page import frames as page_frames
from sbr.report.page.data import PageFrames
from sbr.report.page.frames import size_factor, sprite_of
from sbr.report.page.inputs import find_runs
from sbr.types import Frames

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (30, 30, 220)


def flat(*colours, height=84, width=84):
    return np.stack([np.full((height, width, 3), colour, dtype=np.uint8) for colour in colours])


def tiles(page: PageFrames) -> list[np.ndarray]:
    """The frames cut out of the sprite again."""
    picture = Image.open(io.BytesIO(base64.b64decode(page.sprite.removeprefix("data:image/webp;base64,"))))
    sprite_HWC = np.asarray(picture.convert("RGB"))
    found = []
    for place in range(page.video + page.image):
        top, left = place // page.columns * page.height, place % page.columns * page.width
        found.append(sprite_HWC[top : top + page.height, left : left + page.width])
    return found


def test_a_sprite_holds_the_frames_in_order_and_the_observation_last():
    frames = Frames(flat(RED, GREEN, RED, BLUE), flat(GREEN)[0], (0, 3, 7, 10), 5.0, 11)
    page = sprite_of(frames)
    assert (page.width, page.height, page.video, page.image, page.columns) == (84, 84, 4, True, 5)
    assert page.seconds == (0.0, 0.6, 1.4, 2.0)
    assert (page.video_grid, page.image_grid) == ((2, 3, 3), (3, 3))
    for tile, colour in zip(tiles(page), (RED, GREEN, RED, BLUE, GREEN), strict=True):
        assert np.abs(tile[8:-8, 8:-8].astype(int) - colour).max() < 12  # colours run a little over the borders


@pytest.mark.parametrize("side", [84, 252])
def test_a_drawing_keeps_its_lines(side):
    """Black and white lines of 3 pixels; what colours lose is seen on the drawings of the miniature (tests/e2e)."""
    lines = np.random.default_rng(0).integers(0, 2, (2, side // 3, side // 3, 1), dtype=np.uint8) * 215 + 20
    video = np.kron(lines, np.ones((1, 3, 3, 3), dtype=np.uint8))
    found = tiles(sprite_of(Frames(video, None, (0, 1), 1.0, 2)))
    error = np.mean([(a.astype(float) - b) ** 2 for a, b in zip(found, video, strict=True)])
    assert 10 * np.log10(255**2 / error) > 30


def test_parts_that_are_not_shown_are_absent():
    only_image = sprite_of(Frames(None, flat(RED)[0], (), None, 0))
    assert (only_image.video, only_image.image, only_image.video_grid, only_image.seconds) == (0, True, None, ())
    only_video = sprite_of(Frames(flat(RED, BLUE), None, (0, 1), 2.0, 2))
    assert (only_video.video, only_video.image, only_video.image_grid) == (2, False, None)
    assert sprite_of(Frames(None, None, (), None, 0)) is None


def test_wide_clips_wrap_into_rows(monkeypatch):
    monkeypatch.setattr(page_frames, "WIDEST", 300)
    page = sprite_of(Frames(flat(RED, GREEN, BLUE, RED), flat(GREEN)[0], (0, 1, 2, 3), 1.0, 4))
    assert page.columns == 3
    for tile, colour in zip(tiles(page), (RED, GREEN, BLUE, RED, GREEN), strict=True):
        assert np.abs(tile[8:-8, 8:-8].astype(int) - colour).max() < 12
    with pytest.raises(ConfigError, match="12 pictures of 84 x 84 pixels do not fit"):
        sprite_of(Frames(flat(*[RED] * 12), None, tuple(range(12)), 1.0, 12))


def run_of(tmp_path, model, **values):
    return find_runs([evaluation(tmp_path / "eval", [answer(sample_of(0), "A")], model=model, **values)]).asked[0]


@pytest.mark.parametrize(("family", "factor"), [("qwen2_vl", 28), ("qwen2_5_vl", 28), ("qwen3_vl", 32)])
def test_sizes_follow_the_patches_of_the_model(tiny_model_dirs, tmp_path, family, factor):
    assert size_factor(run_of(tmp_path, tiny_model_dirs[family])) == factor


def test_the_model_of_the_package_and_older_files_say_their_patches(tmp_path):
    assert size_factor(run_of(tmp_path / "a", "sbr:mini")) == 28
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "preprocessor_config.json").write_text(json.dumps({"patch_size": 16, "merge_size": 2}))
    assert size_factor(run_of(tmp_path / "b", tmp_path / "old")) == 32


def test_a_model_that_is_not_here_says_nothing(tmp_path):
    assert size_factor(run_of(tmp_path, "Qwen/Qwen2-VL-7B-Instruct")) is None
