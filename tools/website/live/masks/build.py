"""Make the files of the page `live_masks`: two students, and test scenes to choose from with their true masks.

    students/, garment scenes  ->  masks_*.safetensors (as they are stored), masks.json

The page's scripts are masks.js, masks_worker.js and masks_network.js, beside those of the page `live`; its style sheet
is masks.css, its text page.md, its controls controls.html.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kdcourse.data import SegmentationDataset
from kdcourse.errors import DataError
from kdcourse.evaluation import mean_iou, predict_masks
from kdcourse.figures.masks import class_colours
from kdcourse.files import write_atomically
from kdcourse.models.unet import UNet
from kdcourse.runs.tasks import SEGMENTATION
from tools.website.live import frame
from tools.website.live.masks import students

HERE = Path(__file__).resolve().parent
CODE = ("masks.js", "masks_worker.js", "masks_network.js", "masks.css")
# Scenes that the page offers: the first ones, and of the others those that the students' masks determine.
FIRST, AHEAD, BEHIND = 5, 3, 1
MOST_BYTES = 100_000  # of a student's file


@dataclass(frozen=True)
class Shown:
    """Hold one student of the page: its file, what it learned from in a few words, its mean IoU of all test scenes."""

    file: Path
    learned: str
    iou: float


def fragment() -> str:
    """Return the page as Markdown, with its controls as HTML and the numbers of its students.

    Raises:
        CheckpointError: a student is missing or damaged.
    """
    data = students.shown_scenes()
    found = students.load(data)
    about = {name: notes["about"] for name, (_, notes) in found.items()}
    numbers = {
        "few": f"{about['plain']['masks']:,}",
        "every": f"{about['distilled']['scenes']:,}",
        "tested": f"{len(data.test):,}",
        "teachers": str(len(SEGMENTATION.teacher_recipes)),
        "side": str(data.image_shape[-1]),
        "stride": str(found["distilled"][0].stride),
        "things": f"{', '.join(data.classes[1:-1])} and {data.classes[-1]}",
    }
    text = frame.fragment("live_masks", HERE)
    for word, number in numbers.items():
        text = text.replace(f"<!-- {word} -->", number)
    return text


def write(site: Path) -> None:
    """Write all files that the page loads below ``site``, but for those of the page `live`.

    Raises:
        CheckpointError: a student is missing or damaged, or was evaluated on other test scenes.
        DataError: a student is larger than the page states.
    """
    data = students.shown_scenes()
    found = students.load(data)
    shown = {
        name: Shown(students.FOLDER / f"{name}.safetensors", _learned(notes["about"]), notes["test_iou"])
        for name, (_, notes) in found.items()
    }
    folder = site / frame.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    make(folder, data, {name: model for name, (model, _) in found.items()}, shown)
    for name in CODE:
        shutil.copyfile(HERE / name, folder / name)


def _learned(about: Mapping[str, int]) -> str:
    return f"{about.get('masks', 0):,} masks"


def make(
    folder: Path, data: SegmentationDataset, networks: Mapping[str, UNet], shown: Mapping[str, Shown]
) -> None:
    """Write the students' files and masks.json.

    Args:
        folder: where they go.
        data: the task; readers choose from its test split.
        networks: the students ``plain`` and ``distilled``, which determine some of the scenes that are offered.
        shown: rows of the page, by the same names.
    """
    for name, student in shown.items():
        size = student.file.stat().st_size
        if size > MOST_BYTES:
            raise DataError(
                f"The page's {name} student has {size:,} bytes; at most {MOST_BYTES:,} are allowed. Store it in "
                f"float16, or choose a smaller network: {students.COMMAND}"
            )
    truth, classes = data.test.masks, len(data.classes)
    iou = {
        name: own_iou(predict_masks(networks[name], data.test, data), truth, classes)
        for name in students.NAMES
    }
    groups = choose(iou["plain"], iou["distilled"])
    chosen = torch.cat(list(groups.values()))
    height, width = data.image_shape[1:]
    if height != width:
        raise DataError(f"The page shows square scenes; these have {height} x {width} pixels.")
    described = {
        "classes": list(data.classes),
        "colours": class_colours(data.classes),
        "side": width,
        "mean": list(data.mean),
        "std": list(data.std),
        "models": {
            name: {
                "file": f"masks_{student.file.name}",
                "bytes": student.file.stat().st_size,
                "stride": networks[name].stride,
                "learned": student.learned,
                "iou": student.iou,
            }
            for name, student in shown.items()
        },
        "scenes": [
            {"index": place, "group": group} for group, places in groups.items() for place in places.tolist()
        ],
        # Not as an image: some browsers change the pixels that a page reads back, to prevent fingerprinting.
        "pixels": _base64(data.test.images[chosen].permute(0, 2, 3, 1)),
        "masks": [_base64(runs(mask)) for mask in truth[chosen]],
    }
    for student in shown.values():
        shutil.copyfile(student.file, folder / f"masks_{student.file.name}")
    write_atomically(folder / "masks.json", json.dumps(described, separators=(",", ":")) + "\n")


def own_iou(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Return the mean IoU of every scene alone, float64 [N]; both masks are [N, H, W]."""
    each = [mean_iou(a[None], b[None], classes) for a, b in zip(predicted, truth, strict=True)]
    return torch.tensor(each, dtype=torch.float64)


def choose(plain: Tensor, distilled: Tensor) -> dict[str, Tensor]:
    """Choose the first scenes, and of the others those on which the students are furthest apart.

    Args:
        plain, distilled: the students' mean IoU of every test scene, [N].

    Returns:
        Positions in the test split, int64, by group: ``first`` in their order; ``distilled``, on which this student is
        furthest ahead, and ``plain``, on which that one is, the largest difference first. A group has no scene on which
        its student isn't ahead.
    """
    ahead = distilled - plain
    ahead[:FIRST] = 0
    order = ahead.argsort(descending=True, stable=True)
    back = (-ahead).argsort(descending=True, stable=True)
    return {
        "first": torch.arange(min(FIRST, len(ahead))),
        "distilled": order[:AHEAD][ahead[order[:AHEAD]] > 0],
        "plain": back[:BEHIND][ahead[back[:BEHIND]] < 0],
    }


def runs(mask: Tensor) -> Tensor:
    """Return a mask [H, W] row by row as runs of one class, uint8 [R, 2]: class, length of at most 255 pixels."""
    values, counts = mask.flatten().unique_consecutive(return_counts=True)
    parts = [
        (value, min(255, count - done))
        for value, count in zip(values.tolist(), counts.tolist(), strict=True)
        for done in range(0, count, 255)
    ]
    return torch.tensor(parts, dtype=torch.uint8)


def _base64(values: Tensor) -> str:
    return base64.b64encode(values.contiguous().numpy().tobytes()).decode("ascii")
