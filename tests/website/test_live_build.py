"""What the page `live` loads is what the package says: networks, test images, the two students' training."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from kdcourse.data import Dataset, Split, fashion_mnist
from kdcourse.distillation import Ensemble
from kdcourse.errors import CheckpointError, DataError
from kdcourse.evaluation import accuracy, predict
from kdcourse.files import CHECKSUMS
from kdcourse.runs.few_labels import few_labels
from kdcourse.runs.study import half
from tools.website.live import build, students

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


@pytest.fixture
def models(tmp_path: Path) -> dict[str, build.Shown]:
    shown = {}
    for name, files, accuracy_ in (
        ("plain", ["a"], 0.7),
        ("distilled", ["b"], 0.8),
        ("teachers", ["c", "d"], 0.9),
    ):
        for file in files:
            (tmp_path / file).write_bytes(file.encode() * 10)
        shown[name] = build.Shown([tmp_path / file for file in files], f"{name}'s", accuracy_)
    return shown


def test_images_are_the_first_of_each_class_and_the_next_about_which_students_disagree(data: Dataset) -> None:
    labels = data.test.labels
    plain, distilled = labels.clone(), labels.clone()
    plain[[0, 1, 4, 6, 8]] = 1 - plain[[0, 1, 4, 6, 8]]  # the first of each class are shown in any case
    distilled[[3, 5, 6]] = 1 - distilled[[3, 5, 6]]  # both are wrong about 6
    chosen = {name: places.tolist() for name, places in build.choose(data, plain, distilled).items()}
    assert chosen == {"first": [1, 0], "distilled": [4], "plain": [5, 3]}  # no such cat
    agreed = build.choose(data, labels, labels)
    assert (len(agreed["distilled"]), len(agreed["plain"])) == (0, 0)
    with pytest.raises(DataError, match="the first 1 are of 1 of the 2 classes"):
        build.choose(data, labels[:1], labels[:1])


def test_sprite_holds_every_picture_in_its_place() -> None:
    images = torch.arange(5 * 6 * 4, dtype=torch.uint8).view(5, 1, 6, 4)
    sheet = np.array(Image.open(io.BytesIO(build.sprite(images, columns=2))))
    assert sheet.shape == (3 * 6, 2 * 4) and sheet.dtype == np.uint8
    for n, image in enumerate(images[:, 0]):
        row, column = divmod(n, 2)
        assert (sheet[6 * row : 6 * row + 6, 4 * column : 4 * column + 4] == image.numpy()).all()
    assert (sheet[12:, 4:] == 0).all()


def test_files_are_those_of_the_repository_and_the_list_tells_their_sizes(
    data: Dataset, models: dict[str, build.Shown], tmp_path: Path
) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    networks = {"plain": network(1), "distilled": network(2)}
    build.make(folder, data, networks, Ensemble([network(3)]), models)
    assert {path.name for path in folder.iterdir()} == {"a", "b", "c", "d", "garments.png", "live.json"}
    assert all((folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in "abcd")
    told = json.loads((folder / "live.json").read_text())
    assert {name: model["files"] for name, model in told["models"].items()} == {
        "plain": [{"name": "a", "bytes": 10}],
        "distilled": [{"name": "b", "bytes": 10}],
        "teachers": [{"name": "c", "bytes": 10}, {"name": "d", "bytes": 10}],
    }
    assert [model["accuracy"] for model in told["models"].values()] == [0.7, 0.8, 0.9]
    index = torch.tensor([each["index"] for each in told["images"]])
    assert [each["label"] for each in told["images"]] == data.test.labels[index].tolist()
    right = {
        name: predict(networks[name], data.test, data).argmax(1) == data.test.labels for name in networks
    }
    for each in told["images"][2:]:
        other = {"plain": "distilled", "distilled": "plain"}[each["group"]]
        assert right[each["group"]][each["index"]] and not right[other][each["index"]]
    pixels = np.frombuffer(base64.b64decode(told["pixels"]), np.uint8).reshape(-1, 1, 6, 6)
    assert (torch.from_numpy(pixels.copy()) == data.test.images[index]).all()
    assert (told["classes"], told["side"]) == (["cat", "dog"], 6)
    assert (told["mean"], told["std"]) == (data.mean[0], data.std[0])


def test_large_models_and_other_ensembles_are_refused(
    data: Dataset, models: dict[str, build.Shown], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks, folder = {"plain": network(1), "distilled": network(2)}, tmp_path / "site"
    averaged = Ensemble([network(3), network(4)], average="probabilities")
    with pytest.raises(DataError, match="these teachers average probabilities"):
        build.make(folder, data, networks, averaged, models)
    monkeypatch.setitem(build.MOST_BYTES, "teachers", 19)
    with pytest.raises(DataError, match="teachers have 20 bytes; at most 19 are allowed"):
        build.make(folder, data, networks, Ensemble([network(3)]), models)
    assert not folder.exists()


def test_page_holds_its_controls_as_html() -> None:
    text = build.fragment()
    head, _, rest = text.partition("```{raw} html\n")
    top, _, rest = rest.partition("```\n")
    controls, _, tail = rest.partition("```{raw} html\n")[2].partition("\n```\n")
    assert "\n# Teachers against student, live\n" in head and "## What you see" in tail
    assert 'href="_static/live/live.css"' in top
    assert 'id="live-canvas"' in controls and "<!--" not in text
    for name in build.CODE:  # nothing comes from elsewhere
        program = (build.HERE / name).read_text(encoding="utf-8")
        elsewhere = program.replace("http://localhost:8000", "").replace("https://github.com/huggingface", "")
        assert not any(word in elsewhere for word in ("http:", "https:", "cdn"))


# -- the students ------------------------------------------------------------------------------------


def test_stored_students_are_those_of_the_command() -> None:
    data = fashion_mnist()
    found = students.load(data)
    assert list(found) == ["plain", "distilled"]
    few = data.test.subset(torch.arange(1000))
    scores = {}
    for name, (model, notes) in found.items():
        wanted = students.expected(name, data)
        assert {key: notes[key] for key in wanted} == wanted
        scores[name] = accuracy(predict(model, few, data), few.labels)
        assert notes["test_accuracy"] == pytest.approx(scores[name], abs=0.04)
    assert scores["distilled"] > scores["plain"] + 0.05
    plain, distilled = (notes["recipe"] for _, notes in found.values())
    assert (plain["alpha"], distilled["alpha"], plain["model"]) == (0.0, 1.0, distilled["model"])
    assert plain["epochs"] * (550 // 64) == pytest.approx(distilled["epochs"] * (27_500 // 64), rel=0.01)


def test_damaged_student_is_refused(tmp_path: Path) -> None:
    for path in students.FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "distilled.safetensors").write_bytes(b"damaged")
    with pytest.raises(
        CheckpointError, match=r"distilled\.safetensors is not the file .* tools\.website\.live"
    ):
        students.load(fashion_mnist(), tmp_path)


def test_command_trains_and_stores_both(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = half.Answers(
        torch.randn(8, 2).half(),
        {"ensemble": {"digest": "teachers", "validation_accuracy": 1.0, "test_accuracy": 1.0}},
    )
    monkeypatch.setattr(half, "load_answers", lambda data: answers)  # to the other half of 16 images
    monkeypatch.setattr(students, "few_labels", lambda data, labels: few_labels(data, labels, unlabelled=4))
    recipe = replace(students.RECIPE.changed(epochs=2, batch_size=4), model="pocket_17k")
    threads = torch.get_num_threads()
    students.train(data, tmp_path, recipe, labels=4)
    assert torch.get_num_threads() == threads
    assert {path.name for path in tmp_path.iterdir()} == {
        "plain.safetensors",
        "distilled.safetensors",
        CHECKSUMS,
    }
    for name, (model, notes) in students.load(data, tmp_path).items():
        wanted = students.expected(name, data, recipe, 4)
        assert {key: notes[key] for key in wanted} == wanted
        # Of the weights as they are stored.
        assert notes["test_accuracy"] == accuracy(predict(model, data.test, data), data.test.labels)
        assert all(
            torch.equal(weight, weight.half().float()) for weight in model.parameters() if weight.ndim > 1
        )
