"""Make the files of the page `live`: two students, five teachers, and test images to choose from.

    students/, data/teachers, Fashion-MNIST  ->  *.safetensors (as they are stored), live.json, garments.png

The page's scripts are common.js, live.js, worker.js, answering.js and network.js, its style sheet live.css, its text
page.md, its controls controls.html.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kdcourse.data import Dataset, fashion_mnist
from kdcourse.distillation import Ensemble
from kdcourse.errors import DataError
from kdcourse.evaluation import predict
from kdcourse.files import write_atomically
from kdcourse.runs import recorded, teachers
from tools.website.live import frame, students

HERE = Path(__file__).resolve().parent
CODE = ("common.js", "live.js", "worker.js", "answering.js", "network.js", "live.css")
SEARCHED = 2000  # images about which students disagree are chosen among this many first test images
COLUMNS = 10  # of the image that holds all test images
MOST_BYTES = {"plain": 200_000, "distilled": 200_000, "teachers": 17_700_000}  # of the files of one row


@dataclass(frozen=True)
class Shown:
    """Hold one model of the page: its files, what it learned from in a few words, its test accuracy (0 to 1)."""

    files: Sequence[Path]
    learned: str
    accuracy: float


def fragment() -> str:
    """Return the page as Markdown, with its controls as HTML."""
    return frame.fragment("live", HERE)


def write(site: Path) -> Path:
    """Write all files that the page loads below ``site`` and return their folder.

    Raises:
        CheckpointError: a student or a teacher is missing or damaged.
        DataError: a model is larger than the page states, or the teachers' test accuracy isn't recorded.
    """
    data = fashion_mnist()
    found = students.load(data)
    ensemble, results = recorded.ensemble(data), recorded.summary(data)
    if results is None:
        raise DataError(
            "The teachers' test accuracy isn't recorded for these images. Run: kdcourse students record"
        )
    members = [teachers.shipped_folder() / f"{recipe.name}.safetensors" for recipe in teachers.RECIPES]
    learned = {"plain": "550 labels", "distilled": "0 labels"}
    models = {
        name: Shown([students.FOLDER / f"{name}.safetensors"], learned[name], notes["test_accuracy"])
        for name, (_, notes) in found.items()
    }
    models["teachers"] = Shown(
        members, f"{len(data.train):,} labels", results["models"]["ensemble"]["runs"][0]["test"]["accuracy"]
    )
    folder = site / frame.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    make(folder, data, {name: model for name, (model, _) in found.items()}, ensemble, models)
    for name in CODE:
        shutil.copyfile(HERE / name, folder / name)
    return folder


def make(
    folder: Path,
    data: Dataset,
    networks: Mapping[str, nn.Module],
    ensemble: Ensemble,
    models: Mapping[str, Shown],
) -> None:
    """Write the models' files, live.json and garments.png.

    Args:
        folder: where they go.
        data: the task; readers choose from its test split.
        networks: the students ``plain`` and ``distilled``, which determine the images that are offered.
        ensemble: of the teachers. The page computes the mean of their logits.
        models: rows of the page, by name: ``plain``, ``distilled``, ``teachers``.
    """
    if ensemble.average != "logits":
        raise DataError(
            f"The page averages the teachers' logits; these teachers average {ensemble.average}. Change `answer` in "
            "tools/website/live/worker.js."
        )
    sizes = {name: sum(path.stat().st_size for path in model.files) for name, model in models.items()}
    for name, size in sizes.items():
        if size > MOST_BYTES[name]:
            raise DataError(
                f"The page's {name} have {size:,} bytes; at most {MOST_BYTES[name]:,} are allowed. Choose a smaller "
                "network in tools/website/live/students.py."
            )
    searched = data.test.images[:SEARCHED]
    groups = choose(data, *(predict(networks[name], searched, data).argmax(1) for name in students.NAMES))
    images = data.test.images[torch.cat(list(groups.values()))]
    described = {
        "classes": list(data.classes),
        "side": data.image_shape[1],
        "mean": data.mean[0],
        "std": data.std[0],
        "columns": COLUMNS,
        "models": {
            name: {
                "files": [{"name": path.name, "bytes": path.stat().st_size} for path in model.files],
                "learned": model.learned,
                "accuracy": model.accuracy,
            }
            for name, model in models.items()
        },
        "images": [
            {"index": place, "label": int(data.test.labels[place]), "group": group}
            for group, places in groups.items()
            for place in places.tolist()
        ],
        # Some browsers change the pixels that a page reads back from an image, to prevent fingerprinting.
        "pixels": base64.b64encode(images.contiguous().numpy().tobytes()).decode("ascii"),
    }
    for model in models.values():
        for path in model.files:
            shutil.copyfile(path, folder / path.name)
    write_atomically(folder / "garments.png", sprite(images, COLUMNS))
    write_atomically(folder / "live.json", json.dumps(described, separators=(",", ":")) + "\n")


def choose(data: Dataset, plain: Tensor, distilled: Tensor) -> dict[str, Tensor]:
    """Choose the first test image of each class, then the first of each that only one of the students gets right.

    Args:
        data: the task.
        plain, distilled: int64 [M], the students' classes for the first M images of the test split.

    Returns:
        Positions in the test split, int64 and in the order of the classes, by group: ``first``, ``distilled`` (only
        this student is right) and ``plain``. A class without such an image is left out of a group.

    Raises:
        DataError: a class has no image among the first M.
    """
    labels = data.test.labels[: len(plain)]
    right = {"plain": plain == labels, "distilled": distilled == labels}
    first = _first_of_each(labels, torch.ones_like(right["plain"]), len(data.classes))
    if len(first) < len(data.classes):
        raise DataError(
            f"The page shows a test image of each class; the first {len(labels)} are of {len(first)} of the "
            f"{len(data.classes)} classes. Use more test images."
        )
    rest = torch.ones_like(right["plain"])
    rest[first] = False
    differ = {
        "distilled": right["distilled"] & ~right["plain"],
        "plain": right["plain"] & ~right["distilled"],
    }
    return {"first": first} | {
        name: _first_of_each(labels, only & rest, len(data.classes)) for name, only in differ.items()
    }


def _first_of_each(labels: Tensor, allowed: Tensor, classes: int) -> Tensor:
    """Return the position of the first allowed image of each class that has one."""
    found = [((labels == k) & allowed).nonzero().flatten()[:1] for k in range(classes)]
    return torch.cat(found)


def sprite(images: Tensor, columns: int) -> bytes:
    """Return all images, uint8 [N, 1, H, W], as one PNG, row by row."""
    from PIL import Image

    count, _, height, width = images.shape
    rows = -(-count // columns)
    sheet = torch.zeros(rows, columns, height, width, dtype=torch.uint8)
    sheet.view(-1, height, width)[:count] = images[:, 0]
    stream = io.BytesIO()
    joined = sheet.permute(0, 2, 1, 3).reshape(rows * height, columns * width)
    Image.fromarray(joined.numpy(), "L").save(stream, "PNG", optimize=True)
    return stream.getvalue()
