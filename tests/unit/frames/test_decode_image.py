"""Pictures: upright, opaque, RGB, or one clear message."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sbr.errors import MediaError
from sbr.frames.decode_image import decode_image


def noise(height: int = 40, width: int = 60) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def message(file: Path) -> str:
    with pytest.raises(MediaError) as caught:
        decode_image(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff"])
def test_pixels_are_kept(tmp_path, name):
    noise().save(tmp_path / name)
    assert np.array_equal(np.array(decode_image(tmp_path / name)), np.array(noise()))


def test_the_content_decides_and_not_the_name(tmp_path):
    noise().save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(np.array(decode_image(tmp_path / "a.jpg")), np.array(noise()))


def test_exif_orientation(tmp_path):
    """Orientation 6: the camera was turned, viewers turn the picture clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    noise().save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.array(decode_image(tmp_path / "a.png")), np.rot90(np.array(noise()), -1))


def test_transparent_parts_become_white(tmp_path):
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)
    pixels[0] = (200, 100, 0, 255)
    pixels[1] = (200, 100, 0, 0)
    pixels[1, 1, 3] = 51  # a fifth
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    read = np.array(decode_image(tmp_path / "a.png"))
    assert read[0].tolist() == [[200, 100, 0]] * 2 and read[1, 0].tolist() == [255, 255, 255]
    assert np.abs(read[1, 1].astype(int) - [244, 224, 204]).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK"])
def test_other_modes_become_rgb(tmp_path, mode):
    grey = Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode)
    grey.save(tmp_path / "a.tiff")
    read = decode_image(tmp_path / "a.tiff")
    assert read.mode == "RGB" and (np.array(read) == 255).all()


def test_sixteen_bits_are_refused_and_not_clipped_to_white(tmp_path):
    Image.fromarray(np.full((4, 4), 30_000, dtype=np.uint16)).save(tmp_path / "a.png")
    assert "convert it to 8 bits" in message(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_a_picture_cut_short_is_an_error(tmp_path, name, share):
    noise().save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(share * len(data))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow also warns about some damage that it then raises for
        text = message(tmp_path / name)
    assert "bytes" in text and "Download or copy it again" in text


def test_a_broken_png_checksum_is_an_error(tmp_path):
    noise().save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[data.index(b"IHDR") + 6] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    assert "damaged or cut short" in message(tmp_path / "a.png") or "not a picture" in message(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"<html><title>404 Not Found</title></html>", "not a picture: it holds text ('<html><title>404 Not Fou')"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture: it holds text ('%!PS-Adobe"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "run `git lfs pull`"),
        (b"", "is empty (0 bytes)"),
    ],
)
def test_a_file_that_is_no_picture(tmp_path, content, found):
    (tmp_path / "a.png").write_bytes(content)
    assert found in message(tmp_path / "a.png")


def test_missing_picture(tmp_path):
    assert "does not exist" in message(tmp_path / "a.png")
