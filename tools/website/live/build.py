"""Make the files of the page `live`: the student as ONNX, some test images, the teachers' logits for them.

    data/students, data/teachers, Fashion-MNIST  ->  student.onnx, garments.json, garments.png

The page's script is live.js, its style sheet live.css, its text page.md, its controls controls.html.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib.metadata
import io
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import kdcourse
from kdcourse.data import Dataset, Split, fashion_mnist
from kdcourse.deploy import export_onnx
from kdcourse.distillation import Ensemble
from kdcourse.errors import DataError
from kdcourse.evaluation import predict, weight_bytes
from kdcourse.files import shipped, write_atomically
from kdcourse.runs import recorded
from tools.website import assets

HERE = Path(__file__).resolve().parent
FOLDER = Path("_static", "live")  # in the site
ENGINE = Path("_static", "assets", "onnxruntime")  # in the site too; `tools.website.build` unpacks it there
SEED = 0  # of the recorded students
EASY = 3  # per class: the first of the test set, right or wrong
MADE = ("student.onnx", "garments.png", "garments.json")
SEARCHED = 2000  # the hard images are chosen among this many first test images
MOST_BYTES = 200_000  # limit for the student's file


@dataclass(frozen=True)
class Garments:
    """Hold the test images that the page offers: their positions in the test set, and how many are easy."""

    index: Tensor  # int64 [N], easy ones first
    easy: int  # how many of them


def fragment() -> str:
    """Return the page as Markdown, with its controls as HTML."""
    controls = (HERE / "controls.html").read_text(encoding="utf-8")
    text = (HERE / "page.md").read_text(encoding="utf-8")
    return text.replace("<!-- controls -->", f"```{{raw}} html\n{controls}```")


def write(site: Path) -> Path:
    """Write all files that the page loads below ``site`` and return their folder.

    onnxruntime-web must be there already. The export takes long, so its files are cached beside the npm packages until
    an input of theirs changes.

    Raises:
        DataError: the student's file is larger than the page states.
    """
    kept = assets.cache_folder() / f"live-{_key(_ingredients())}"
    if not all((kept / name).is_file() for name in MADE):
        for old in kept.parent.glob("live-*"):
            shutil.rmtree(old, ignore_errors=True)
        data = fashion_mnist()
        student, _ = recorded.load(recorded.shipped_folder(), f"distilled_seed{SEED}", data)
        make(kept, data, student, recorded.ensemble(data), recorded.summary(data))
    folder = site / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for path in (*(kept / name for name in MADE), HERE / "live.js", HERE / "live.css"):
        shutil.copyfile(path, folder / path.name)
    told = json.loads((folder / "garments.json").read_text(encoding="utf-8"))
    told["fileBytes"] = (folder / "student.onnx").stat().st_size
    told["engineBytes"] = sum(path.stat().st_size for path in (site / ENGINE).glob("*"))
    (folder / "garments.json").write_text(json.dumps(told, separators=(",", ":")), encoding="utf-8")
    return folder


def _ingredients() -> list[Path]:
    """Return every file that `make` depends on, except the images, which never change."""
    stored = [path for name in ("students", "teachers") for path in shipped(name).iterdir() if path.is_file()]
    return sorted([*stored, *Path(kdcourse.__file__).parent.rglob("*.py"), Path(__file__)])


def _key(files: Sequence[Path]) -> str:
    digest = hashlib.sha256(torch.__version__.encode())
    for name in ("onnx", "onnxscript"):
        with contextlib.suppress(
            importlib.metadata.PackageNotFoundError
        ):  # export_onnx says how to install it
            digest.update(importlib.metadata.version(name).encode())
    for path in files:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def make(
    folder: Path, data: Dataset, student: nn.Module, teacher: Ensemble, results: dict[str, Any] | None
) -> None:
    """Write student.onnx, garments.png and garments.json.

    Args:
        folder: where they go.
        data: the task; readers choose from its test split.
        student: the network that runs in the page.
        teacher: makes its predictions for these images here, once.
        results: ``recorded.json``, for the accuracy on the whole test set; None omits it.
    """
    with tempfile.TemporaryDirectory(prefix="kdcourse-live-") as temporary:
        path = Path(temporary, "student.onnx")
        exported = export_onnx(
            student, path, image_shape=data.image_shape, classes=data.classes, mean=data.mean, std=data.std
        )
        content = path.read_bytes()
    if exported.bytes > MOST_BYTES:
        raise DataError(
            f"The student's file has {exported.bytes:,} bytes; at most {MOST_BYTES:,} are allowed. "
            "Choose a smaller student in tools/website/live/build.py."
        )
    searched = data.test.images[:SEARCHED]
    garments = choose(data, predict(student, searched, data).argmax(1))
    shown = data.test.subset(garments.index)
    write_atomically(folder / "student.onnx", content)
    write_atomically(folder / "garments.png", sprite(shown.images, len(data.classes)))
    described = describe(garments, shown, data, student, teacher, results)
    write_atomically(folder / "garments.json", json.dumps(described, separators=(",", ":")) + "\n")


def choose(data: Dataset, answers: Tensor) -> Garments:
    """Choose the first test images of each class, then the first of each that the student gets wrong.

    They come in rows of one image per class, so the sprite and the page have one column per class. A class without a
    mistake has no hard image.

    Args:
        data: the task.
        answers: int64 [M], the student's classes for the first M images of the test split.
    """
    labels = data.test.labels[: len(answers)]
    places = [(labels == k).nonzero().flatten() for k in range(len(data.classes))]
    counts = [len(place) for place in places]
    if min(counts) < EASY:
        rarest = data.classes[counts.index(min(counts))]
        raise DataError(
            f"The page shows {EASY} test images per class; {rarest} has {min(counts)} among the first "
            f"{len(answers)}. Use more test images."
        )
    easy = torch.stack([place[:EASY] for place in places], 1).flatten()
    wrong = [place[EASY:][answers[place[EASY:]] != k][:1] for k, place in enumerate(places)]
    return Garments(torch.cat([easy, *wrong]), len(easy))


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


def describe(
    garments: Garments, shown: Split, data: Dataset, student: nn.Module, teacher: Ensemble,
    results: dict[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """Return the content of garments.json.

    ``pixels`` are the images' bytes in base64, because some browsers change the pixels that a page reads back from an
    image, to prevent fingerprinting.
    """
    logits = predict(teacher, shown, data)
    first = predict(student, shown.subset(torch.tensor([0])), data)[0]
    accuracies: dict[str, float | None] = {"student": None, "teacher": None}
    if results is not None:
        runs = {run["seed"]: run["test"]["accuracy"] for run in results["models"]["distilled"]["runs"]}
        accuracies["student"] = runs[SEED]
        accuracies["teacher"] = results["models"]["ensemble"]["runs"][0]["test"]["accuracy"]
    return {
        "classes": list(data.classes),
        "size": list(data.image_shape[1:]),
        "student": _size_of(student) | {"accuracy": accuracies["student"]},
        "teacher": _size_of(teacher) | {"accuracy": accuracies["teacher"], "members": len(teacher.members)},
        "testImages": len(data.test),
        "images": [
            {
                "index": int(place),
                "label": int(label),
                "hard": position >= garments.easy,
                "teacher": _short(row),
            }
            for position, (place, label, row) in enumerate(
                zip(garments.index, shown.labels, logits, strict=True)
            )
        ],
        "first": _short(first),  # the student's, for the first image: shown before the student is loaded
        "pixels": base64.b64encode(shown.images.contiguous().numpy().tobytes()).decode("ascii"),
    }


def _short(logits: Tensor) -> list[float]:
    """Round to the digits of float32."""
    return [float(f"{number:.7g}") for number in logits.tolist()]


def _size_of(model: nn.Module) -> dict[str, int]:
    return {"parameters": sum(p.numel() for p in model.parameters()), "bytes": weight_bytes(model)}
