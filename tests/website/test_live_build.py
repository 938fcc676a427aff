"""What the page `live` loads is what the package says: pictures, the teachers' answers, the student's file."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from kdcourse import evaluation
from kdcourse.data import Dataset, Split
from kdcourse.distillation import Ensemble
from kdcourse.errors import DataError
from tools.website.live import build

CLASSES = ("cat", "dog")


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(6 * 6, len(CLASSES)))


@pytest.fixture
def data() -> Dataset:
    generator = torch.Generator().manual_seed(0)

    def split(labels: list[int]) -> Split:
        images = torch.randint(0, 256, (len(labels), 1, 6, 6), generator=generator, dtype=torch.uint8)
        return Split(images, torch.tensor(labels))

    return Dataset(
        "animals", CLASSES, split([0, 1] * 8), split([0, 1]), split([1, 0, 0, 1, 1, 0, 0, 1, 1, 0])
    )


def test_first_pictures_are_the_first_of_each_class_and_hard_ones_the_next_mistakes(data: Dataset) -> None:
    labels = data.test.labels
    answers = labels.clone()
    answers[[0, 8, 9]] = 1 - answers[[0, 8, 9]]  # the first dog is shown in any case, so it is no hard one
    garments = build.choose(data, answers)
    assert garments.index.tolist() == [1, 0, 2, 3, 5, 4, 9, 8]  # a row: a cat, a dog
    assert garments.easy == 6
    assert build.choose(data, labels).index.tolist() == [1, 0, 2, 3, 5, 4]  # no mistake, no hard picture
    with pytest.raises(DataError, match="3 test images per class; cat has 2 among the first 4"):
        build.choose(data, labels[:4])


def test_sprite_holds_every_picture_in_its_place() -> None:
    images = torch.arange(5 * 6 * 4, dtype=torch.uint8).view(5, 1, 6, 4)
    sheet = np.array(Image.open(io.BytesIO(build.sprite(images, columns=2))))
    assert sheet.shape == (3 * 6, 2 * 4) and sheet.dtype == np.uint8
    for n, image in enumerate(images[:, 0]):
        row, column = divmod(n, 2)
        assert (sheet[6 * row : 6 * row + 6, 4 * column : 4 * column + 4] == image.numpy()).all()
    assert (sheet[12:, 4:] == 0).all()


def test_files_tell_the_teachers_answers_about_the_pictures_shown(data: Dataset, tmp_path: Path) -> None:
    teacher = Ensemble([network(1), network(2)])
    results: Any = {
        "models": {
            "distilled": {"runs": [{"seed": s, "test": {"accuracy": a}} for s, a in ((1, 0.1), (build.SEED, 0.7))]},
            "ensemble": {"runs": [{"seed": None, "test": {"accuracy": 0.9}}]},
        }
    }  # fmt: skip
    build.make(tmp_path, data, network(3), teacher, results)
    assert {path.name for path in tmp_path.iterdir()} == {"student.onnx", "garments.png", "garments.json"}
    told = json.loads((tmp_path / "garments.json").read_text())
    index = torch.tensor([each["index"] for each in told["images"]])
    assert [each["label"] for each in told["images"]] == data.test.labels[index].tolist()
    logits = evaluation.predict(teacher, data.test, data)[index]
    assert Tensor(  # float32 from the numbers as written
        [each["teacher"] for each in told["images"]]
    ).allclose(logits, rtol=1e-6, atol=1e-6)
    student = evaluation.predict(network(3), data.test, data).argmax(1)
    hard = torch.tensor([each["hard"] for each in told["images"]])
    assert (student[index][hard] != data.test.labels[index][hard]).all()
    pixels = np.frombuffer(base64.b64decode(told["pixels"]), np.uint8).reshape(-1, 1, 6, 6)
    assert (torch.from_numpy(pixels.copy()) == data.test.images[index]).all()
    assert told["student"] == {"parameters": 74, "bytes": 296, "accuracy": 0.7}
    assert told["teacher"] == {"parameters": 148, "bytes": 592, "accuracy": 0.9, "members": 2}
    first = evaluation.predict(network(3), data.test, data)[index[0]]
    assert Tensor(told["first"]).allclose(first, rtol=1e-6, atol=1e-6)
    assert (told["classes"], told["size"], told["testImages"]) == (["cat", "dog"], [6, 6], 10)


def test_student_that_is_too_large_is_refused(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "MOST_BYTES", 300)
    with pytest.raises(DataError, match=r"bytes; at most 300 are allowed"):
        build.make(tmp_path, data, network(3), Ensemble([network(1)]), None)
    assert list(tmp_path.iterdir()) == []


def test_export_is_kept_until_something_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDCOURSE_SITE_ASSETS", str(tmp_path / "kept"))
    source = tmp_path / "source.py"
    source.write_text("1")
    engine = tmp_path / "site" / build.ENGINE
    engine.mkdir(parents=True)
    (engine / "a.wasm").write_bytes(b"12345")
    (engine / "a.js").write_bytes(b"67")
    monkeypatch.setattr(build, "_ingredients", lambda: [source])
    made: list[str] = []

    def make(folder: Path, *given: Any) -> None:
        made.append(source.read_text())
        folder.mkdir(parents=True)
        for name in build.MADE:
            (folder / name).write_text(f'{{"made": {source.read_text()}}}')

    monkeypatch.setattr(build, "make", make)
    for text in ("1", "1", "2", "2"):
        source.write_text(text)
        folder = build.write(tmp_path / "site")
        assert {path.name for path in folder.iterdir()} == {*build.MADE, "live.js", "live.css"}
        assert (folder / "student.onnx").read_text() == f'{{"made": {text}}}'
        told = json.loads((folder / "garments.json").read_text())
        # What the page says that it will load.
        assert told == {"made": int(text), "engineBytes": 7, "fileBytes": len('{"made": 1}')}
    assert made == ["1", "2"]
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_every_source_and_weight_counts_as_an_ingredient() -> None:
    names = {path.name for path in build._ingredients()}
    assert {"distilled_seed0.safetensors", "recorded.json", "teacher_1.safetensors"} <= names
    assert {"onnx_export.py", "convolutional.py", "splits.py", "build.py"} <= names


def test_page_holds_its_controls_as_html() -> None:
    text = build.fragment()
    head, _, rest = text.partition("```{raw} html\n")
    controls, _, tail = rest.partition("\n```\n")
    assert "\n# The student, live\n" in head and "## What you see" in tail
    assert 'id="live-canvas"' in controls and "<!-- controls" not in text
    program = (build.HERE / "live.js").read_text(encoding="utf-8")
    for name in ("http:", "https:", "cdn"):  # nothing comes from elsewhere
        assert name not in program.replace("http://localhost:8000", "")
