"""The only place where picture files are opened, through Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, ImageOps

from sbr.errors import MediaError
from sbr.frames.content import describe, remedy, require_file
from sbr.frames.limits import require_affordable

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
"""Pillow readers that may be used: pictures only, none that runs a program."""

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `require_affordable` refuses these pictures
Image.init()  # registers the readers: Image.open(formats=...) knows only those registered before


def decode_image(file: Path) -> Image.Image:
    """Read a picture as RGB: turned upright by its EXIF orientation, transparent parts on white.

    Raises MediaError, naming the file, what was found and what to do.
    """
    require_file(file, "image")
    try:
        with Image.open(file, formats=IMAGE_FORMATS) as picture:
            require_affordable(f"image {file}", *picture.size)
            picture.load()
            return _to_rgb(ImageOps.exif_transpose(picture), file)
    except Image.UnidentifiedImageError:
        raise MediaError(f"image {file} is not a picture: it holds {describe(file)}. {remedy(file)}.") from None
    except Image.DecompressionBombError as error:
        raise MediaError(f"image {file}: {error}; make it smaller") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        # Pillow's readers raise all of these for damaged data: SyntaxError for a broken PNG chunk, for instance.
        raise MediaError(f"image {file} is damaged or cut short ({error}); {describe(file)}. {remedy(file)}.") from None


def _to_rgb(picture: Image.Image, file: Path) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        # Pillow clips these to white instead of scaling them.
        raise MediaError(f"image {file} has pixels of mode {picture.mode}; convert it to 8 bits a channel.")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")
