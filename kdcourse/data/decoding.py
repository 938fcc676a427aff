"""One image file as an array: upright, 8 bits, grey or colour, of the wanted size."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from kdcourse.errors import ArgumentError

Fit = Literal["crop", "pad", "stretch"]
Levels = tuple[float, float]

# Pillow recognises these formats, but decodes them only with the help of other programs, or not at all.
_WITHOUT_DECODER = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
_DEPTHS = (8, 10, 12, 14, 16)  # bits per value of sensors and scanners


class UnfitError(Exception):
    """Report a file that can be read but not used; the message says why."""


@functools.cache
def image_endings() -> frozenset[str]:
    """Return the endings of the files that this installation of Pillow decodes, in lower case: ".png", ".jpg", ..."""
    Image.init()
    known = Image.registered_extensions().items()
    return frozenset(e.lower() for e, kind in known if kind in Image.OPEN and kind not in _WITHOUT_DECODER)


def checked_size(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return height and width; raise `ArgumentError` unless both are whole numbers above 0."""
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2 or not all(type(side) is int and side > 0 for side in pair):  # True is no size
        raise ArgumentError(
            f"size must be pixels, a whole number above 0, or (height, width); found {size!r}."
        )
    return pair[0], pair[1]


def check_fit(fit: str, background: int, levels: Levels | None = None) -> None:
    """Raise `ArgumentError` unless the three say how to resize, pad and scale."""
    if fit not in ("crop", "pad", "stretch"):
        raise ArgumentError(f"fit must be 'crop', 'pad' or 'stretch'; found {fit!r}.")
    if not 0 <= background <= 255:
        raise ArgumentError(f"background must be a grey level from 0 to 255; found {background!r}.")
    if levels is not None and not (len(levels) == 2 and levels[0] < levels[1]):
        raise ArgumentError(
            f"levels must be two stored values, the one for black and a larger one for white; found {levels!r}."
        )


def _kind(path: Path) -> str:
    """Say what a file is that Pillow doesn't recognise."""
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    if not start:
        return "the file is empty"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return "the file is HEIC, whatever its ending; convert it to JPEG or PNG, or register pillow-heif"
    if start.startswith(b"<"):
        return "the file is a web page or XML, whatever its ending; download the image again"
    return "Pillow doesn't recognise the content"


class Depth:
    """Find the number of bits per value in the files of one folder that store more than 8.

    A file with 16 bits per value often holds 12-bit measurements, which divided by 257 would leave 16 grey levels.
    So the largest value in all files decides: 8, 10, 12, 14 or 16 bits, the same for every file, because
    brightness must stay comparable. It is looked up when the first such file is met, and once.

    Args:
        paths: all image files of the folder.
        each: applies a function to every path in turn and yields the results, several at a time.
    """

    def __init__(self, paths: Sequence[Path], each: Callable[..., Iterable[int]]) -> None:
        self._paths, self._each, self._lock = paths, each, threading.Lock()
        self._bits: int | None = None

    @property
    def bits(self) -> int:
        """Return 8, 10, 12, 14 or 16."""
        with self._lock:
            if self._bits is None:
                self._bits = 8
                for largest in self._each(_largest, self._paths):
                    self._bits = max(self._bits, _bits_for(largest))
                    if self._bits == _DEPTHS[-1]:
                        break
            return self._bits


def _bits_for(value: int) -> int:
    return next((bits for bits in _DEPTHS if value < 1 << bits), _DEPTHS[-1])


def _largest(path: Path) -> int:
    """Return the largest value of a file with more than 8 bits per value; 0 for others and for damaged ones."""
    with contextlib.suppress(Exception), Image.open(path) as opened:
        if opened.mode.startswith("I"):
            return int(np.asarray(opened).max())
        if _low_bytes(opened) is not None:
            return int(np.asarray(opened.convert("RGB")).max()) << 8 | 255  # of the upper 8 bits
    return 0


def decode(
    path: Path, background: int, depth: Depth, levels: Levels | None = None, least: int | None = None
) -> tuple[Image.Image, tuple[int, int], str]:
    """Read an image file: upright, mode "L" or "RGB".

    Args:
        path: the file.
        background: grey level behind transparent pixels.
        depth: bits per value of all files together, for those that store more than 8.
        levels: stored values that become 0 and 255, in files that store more than 8 bits; None to go by ``depth``.
        least: pixels that the longer side needs at least. A JPEG may then be decoded at a half, a quarter or an
            eighth of its size, which costs less.

    Returns:
        The image, its (width, height) as stored and what was left out of it, empty where nothing was.

    Raises:
        UnfitError: values that can't be scaled to 8 bits without being told how.
    """
    with Image.open(path) as opened:
        stored = opened.size
        pages = getattr(opened, "n_frames", 1) if opened.format == "TIFF" else 1
        note = f"only the first page of several is read: {pages} pages" if pages > 1 else ""
        if least is not None:
            opened.draft(None, (least, least))
        mode, low = _raw_mode(opened), _low_bytes(opened)
        if mode.startswith("LA;16"):
            note = "only the upper 8 of 16 bits are read of grey with alpha"
        if low is not None and (levels is not None or depth.bits < _DEPTHS[-1]):
            with Image.open(path) as again:
                again.tile = [tile._replace(args=low) for tile in again.tile]
                upper, lower = (np.asarray(each).astype(np.float64) for each in (opened, again))
            top = (0.0, 2.0**depth.bits - 1) if levels is None else levels
            turned = Image.fromarray(_scaled(256 * upper + lower, top))
            return _plain(_upright(turned, opened), background), stored, note
        image = _upright(opened, opened)
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_to_8_bits(np.asarray(image), depth, levels)), stored, note
    return _plain(image, background), stored, note


def _raw_mode(image: Image.Image) -> str:
    """Return how Pillow's decoder names the stored values, such as "RGB;16B"; "" where it doesn't."""
    arguments = {getattr(tile, "args", None) for tile in getattr(image, "tile", ())}
    mode = arguments.pop() if len(arguments) == 1 else ""
    mode = mode[0] if isinstance(mode, tuple) and mode else mode
    return mode if isinstance(mode, str) else ""


def _low_bytes(image: Image.Image) -> str | None:
    """Return the decoder's mode for the lower 8 of 16 bits of a colour image; None where there are none.

    Of 16 bits per channel Pillow keeps the upper 8. In the other byte order it keeps the lower 8.
    """
    mode = _raw_mode(image)
    if mode not in ("RGB;16B", "RGB;16L", "RGB;16N", "RGBA;16B", "RGBA;16L", "RGBA;16N"):
        return None
    first_is_high = mode.endswith("B") or (mode.endswith("N") and sys.byteorder == "big")
    return f"{mode[:-1]}{'L' if first_is_high else 'B'}"


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image, source: Image.Image) -> Image.Image:
    """Turn ``image`` as the EXIF orientation of ``source`` says; damaged EXIF says nothing, as in any viewer."""
    image.load()  # a PNG may hold its EXIF behind the pixels
    try:
        turn = _TURNS.get(source.getexif().get(0x0112, 1))
    except Exception:  # Pillow's parsers raise nearly every type on damaged entries
        turn = None
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = dict(image.info)  # transparency among it
    return turned


def _to_8_bits(values: NDArray[np.generic], depth: Depth, levels: Levels | None) -> NDArray[np.uint8]:
    """Scale whole or floating-point values of more than 8 bits, [H, W] -> uint8 [H, W]."""
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UnfitError("holds values that are no finite numbers; replace NaN and infinity")
    if levels is None:
        if values.dtype.kind == "f" or low < 0 or high >= 1 << _DEPTHS[-1]:
            kind = "floating-point values" if values.dtype.kind == "f" else "values"
            raise UnfitError(
                f"holds {kind} from {low:g} to {high:g}; say which become black and white, for instance "
                f"levels=({low:g}, {high:g}), the same for all files"
            )
        levels = (0.0, 2.0**depth.bits - 1)
    return _scaled(values.astype(np.float64), levels)


def _scaled(values: NDArray[np.float64], levels: Levels) -> NDArray[np.uint8]:
    low, high = levels
    # One division by a whole number where there is one: 16 bits have always been divided by 257.
    step = (high - low) / 255
    return np.clip(np.rint((values - low) / step), 0, 255).astype(np.uint8)


def _plain(image: Image.Image, background: int) -> Image.Image:
    """Convert any mode of 8 bits or fewer per value to "L" or "RGB"."""
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        image = image.convert("RGBA")
        backdrop = Image.new("RGBA", image.size, (background, background, background, 255))
        return Image.alpha_composite(backdrop, image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def resized(
    image: Image.Image, size: tuple[int, int], channels: int | None, fit: Fit, background: int
) -> NDArray[np.uint8]:
    """Resize with Pillow's bicubic filter: "L" or "RGB" -> uint8 [1 or 3, H, W].

    ``channels`` None leaves one channel where all pixels are grey, and three elsewhere.
    """
    height, width = size
    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    resample = Image.Resampling.BICUBIC
    if fit == "crop":
        image = ImageOps.fit(image, (width, height), resample)
    elif fit == "pad":
        inner = inner_size(image.size, size)
        if inner != image.size:
            image = image.resize(inner, resample)
        if inner != (width, height):
            colour = background if image.mode == "L" else (background,) * 3
            framed = Image.new(image.mode, (width, height), colour)
            framed.paste(image, (round((width - inner[0]) / 2), round((height - inner[1]) / 2)))
            image = framed
    else:
        image = image.resize((width, height), resample)
    values = np.asarray(image, np.uint8)
    if values.ndim == 2:
        return values[None]
    if channels is None and (values == values[..., :1]).all():
        return values[None, ..., 0]
    return values.transpose(2, 0, 1)


def inner_size(stored: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of a whole image of ``stored`` = (width, height) inside ``size`` = (height, width).

    Of a long thin image at least one row or column of pixels is left.
    """
    height, width = size
    if stored[0] * height == width * stored[1]:
        return width, height
    if stored[0] / stored[1] > width / height:
        return width, max(1, round(stored[1] / stored[0] * width))
    return max(1, round(stored[0] / stored[1] * height)), height


def complaint(path: Path, error: Exception) -> str:
    """Say in one line why a file can't be read, with a cure where one is known."""
    if isinstance(error, UnfitError):
        return str(error)
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, UnidentifiedImageError):
        return f"{type(error).__name__}: {_kind(path)}"
    if isinstance(error, Image.DecompressionBombError):
        return f"{said} If you trust the file, set PIL.Image.MAX_IMAGE_PIXELS = None first."
    return said
