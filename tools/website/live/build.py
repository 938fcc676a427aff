"""What the page `live` needs: the student as ONNX, some test pictures, what the teachers say about them.

    data/students, data/teachers, Fashion-MNIST  ->  student.onnx, garments.json, garments.png

beside the page's own program and looks, live.js and live.css. The page's words are in page.md, its controls
in controls.html.
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
ENGINE = Path("_static", "assets", "onnxruntime")  # there as well, where `tools.website.build` unpacks it
SEED = 0  # of the recorded students
EASY = 3  # of each class: the first of the test set, whatever the student makes of them
MADE = ("student.onnx", "garments.png", "garments.json")
SEARCHED = 2000  # test pictures, from the first on, among which the hard ones are looked for
MOST_BYTES = 200_000  # of the student's file


@dataclass(frozen=True)
class Garments:
    """Test pictures that the page offers: their places in the test set, and which of them are the hard ones."""

    index: Tensor  # int64 [N], easy ones first
    easy: int  # how many of them


def fragment() -> str:
    """The page as markdown, its controls in it as HTML."""
    controls = (HERE / "controls.html").read_text(encoding="utf-8")
    text = (HERE / "page.md").read_text(encoding="utf-8")
    return text.replace("<!-- controls -->", f"```{{raw}} html\n{controls}```")


def write(site: Path) -> Path:
    """Put all that the page loads below ``site``, but for onnxruntime-web, which is there; returns the folder.

    What takes long, the export, is kept beside the npm packages for as long as nothing changes that it is
    made from.

    Raises:
        DataError: the student's file is larger than the page promises.
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
    """Every file whose change may change what `make` writes, but for the pictures, which never change."""
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
        data: the task; its test split is what readers pick from.
        student: the network that answers in the page.
        teacher: asked here, once, about the pictures to pick from.
        results: ``recorded.json``, for the accuracy on the whole test set; None leaves that out.
    """
    with tempfile.TemporaryDirectory(prefix="kdcourse-live-") as temporary:
        path = Path(temporary, "student.onnx")
        exported = export_onnx(
            student, path, image_shape=data.image_shape, classes=data.classes, mean=data.mean, std=data.std
        )
        content = path.read_bytes()
    if exported.bytes > MOST_BYTES:
        raise DataError(
            f"The student's file has {exported.bytes:,} bytes; the page promises fewer than {MOST_BYTES:,}. "
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
    """The first test pictures of each class, then the first of each that the student gets wrong.

    In rows of one picture a class, so that the sprite and the page have a column a class. A class without
    a mistake has no hard picture.

    Args:
        data: the task.
        answers: int64 [M], the student's classes for the first M pictures of the test split.
    """
    labels = data.test.labels[: len(answers)]
    places = [(labels == k).nonzero().flatten() for k in range(len(data.classes))]
    counts = [len(place) for place in places]
    if min(counts) < EASY:
        rarest = data.classes[counts.index(min(counts))]
        raise DataError(
            f"The page shows {EASY} test pictures of each class; of {rarest} there are {min(counts)} among the "
            f"first {len(answers)}. Give it more test pictures."
        )
    easy = torch.stack([place[:EASY] for place in places], 1).flatten()
    wrong = [place[EASY:][answers[place[EASY:]] != k][:1] for k, place in enumerate(places)]
    return Garments(torch.cat([easy, *wrong]), len(easy))


def sprite(images: Tensor, columns: int) -> bytes:
    """All pictures in one, uint8 [N, 1, H, W] row by row, as PNG."""
    from PIL import Image

    count, _, height, width = images.shape
    rows = -(-count // columns)
    sheet = torch.zeros(rows, columns, height, width, dtype=torch.uint8)
    sheet.view(-1, height, width)[:count] = images[:, 0]
    stream = io.BytesIO()
    picture = sheet.permute(0, 2, 1, 3).reshape(rows * height, columns * width)
    Image.fromarray(picture.numpy(), "L").save(stream, "PNG", optimize=True)
    return stream.getvalue()


def describe(
    garments: Garments, shown: Split, data: Dataset, student: nn.Module, teacher: Ensemble,
    results: dict[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """The content of garments.json.

    ``pixels`` are the pictures' bytes in base64: what a browser reads back of a PNG that it drew may be
    changed on purpose, against being recognised.
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
        "testPictures": len(data.test),
        "pictures": [
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
        "first": _short(first),  # the student's, of the first picture: what is shown before it is loaded
        "pixels": base64.b64encode(shown.images.contiguous().numpy().tobytes()).decode("ascii"),
    }


def _short(logits: Tensor) -> list[float]:
    """As many digits as float32 has."""
    return [float(f"{number:.7g}") for number in logits.tolist()]


def _size_of(model: nn.Module) -> dict[str, int]:
    return {"parameters": sum(p.numel() for p in model.parameters()), "bytes": weight_bytes(model)}
