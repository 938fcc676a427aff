"""Make the files of the page `masks`: two students, and test scenes to choose from.

    students/, scenes  ->  plain.safetensors, distilled.safetensors (as they are stored), masks.json

The page's scripts are masks.js and network.js, its style sheet masks.css, its text page.md, its controls controls.html.
It uses live.css and network.js of the page `live` as well.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kdcourse.data import SegmentationDataset, garment_scenes
from kdcourse.errors import DataError
from kdcourse.figures.masks import class_colours
from kdcourse.files import write_atomically
from kdcourse.runs import tasks, unlabelled
from tools.website.masks import students

HERE = Path(__file__).resolve().parent
FOLDER = Path("_static", "masks")  # in the site
CODE = ("masks.js", "network.js", "masks.css")
SCENES = 8
MOST_BYTES = 600_000  # of all that the page loads


def fragment() -> str:
    """Return the page as Markdown, with its controls as HTML."""
    controls = (HERE / "controls.html").read_text(encoding="utf-8")
    text = (HERE / "page.md").read_text(encoding="utf-8")
    fill = {
        "controls": f"```{{raw}} html\n{controls}```",
        "parameters": f"{_parameters():,}",
        "masks": f"{unlabelled.MASKS:,}",
        "scenes": f"{tasks.STUDENT_SCENES[0]:,}",
    }
    for word, content in fill.items():
        text = text.replace(f"<!-- {word} -->", content)
    return text


def write(site: Path) -> Path:
    """Write all files that the page loads below ``site`` and return their folder.

    Raises:
        CheckpointError: a student is missing or damaged.
        DataError: the files are larger than `MOST_BYTES`.
    """
    # The first test scenes are the same however many there are.
    data = garment_scenes(scenes=(1, 1, SCENES))
    folder = site / FOLDER
    make(folder, data, students.load(data))
    for name in CODE:
        shutil.copyfile(HERE / name, folder / name)
    size = sum(file.stat().st_size for file in folder.iterdir())
    if size > MOST_BYTES:
        raise DataError(
            f"The page's files have {size:,} bytes; at most {MOST_BYTES:,} are allowed. Show fewer scenes."
        )
    return folder


def make(
    folder: Path,
    data: SegmentationDataset,
    found: Mapping[str, tuple[nn.Module, dict[str, Any]]],
    weights: Path = students.FOLDER,
) -> None:
    """Write the students' files and masks.json.

    Args:
        folder: where they go.
        data: readers choose from its test split.
        found: the students and their notes, see `kdcourse.models.UNet` and `students.load`.
        weights: the folder of the students' files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in students.NAMES:
        shutil.copyfile(weights / f"{name}.safetensors", folder / f"{name}.safetensors")
    described = {
        "classes": list(data.classes),
        "colours": [
            [int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in class_colours(data.classes)
        ],
        "side": data.image_shape[1],
        "mean": data.mean,
        "std": data.std,
        "models": {
            name: {
                "file": f"{name}.safetensors",
                "bytes": (folder / f"{name}.safetensors").stat().st_size,
                "stride": model.stride,
                "learned": f"{notes['masks']:,} masks",
                "iou": notes["test_iou"],
            }
            for name, (model, notes) in found.items()
        },
        # Some browsers change the pixels that a page reads back from an image, to prevent fingerprinting.
        "pixels": _base64(data.test.images),
        "masks": _base64(data.test.masks),
    }
    write_atomically(folder / "masks.json", json.dumps(described, separators=(",", ":")) + "\n")


def _base64(values: Tensor) -> str:
    return base64.b64encode(values.contiguous().numpy().tobytes()).decode("ascii")


def _parameters() -> int:
    from safetensors import safe_open

    with safe_open(students.FOLDER / "distilled.safetensors", framework="np") as file:
        stored = [name for name in file.keys() if "running_" not in name and "num_batches" not in name]  # noqa: SIM118
        return sum(file.get_tensor(name).size for name in stored)
