from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from kdcourse import cli, deploy, evaluation, models, training
from kdcourse.data import Dataset
from kdcourse.errors import ArgumentError, CheckpointError, DataError
from kdcourse.runs import ship as room
from kdcourse.runs.ship import ShipOptions, ship
from tests.runs import tiny

DATA = tiny.dataset()
RECIPE = {"model": "mlp_25k", "epochs": 2, "alpha": 0.9}


def notes(**changed: Any) -> dict[str, Any]:
    return {"identity": {"recipe": RECIPE, "seed": 3, "classes": list(DATA.classes)} | changed}


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    torch.manual_seed(0)
    model = models.build("mlp_25k", data=DATA)
    training.fit(model, DATA, epochs=4, batch_size=16, learning_rate=0.02, seed=0, progress=False)
    return model


@pytest.fixture
def student(tmp_path: Path, trained: nn.Module, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(room, "fashion_mnist", lambda: DATA)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "models" / "student.safetensors"
    training.save_weights(trained, path, notes())
    return path


def facts_of(path: Path) -> dict[str, Any]:
    return {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}


def test_onnx_answers_as_pytorch_and_tells_how_it_was_made(student: Path) -> None:
    said: list[str] = []
    done = ship(ShipOptions(student, "onnx", licence="CC0"), said.append)
    assert done.path == Path("student.onnx") and done.bytes == done.path.stat().st_size
    found = done.comparison
    assert (found.images, found.different) == (30, 0) and found.difference < 1e-4 and found.close
    assert found.accuracy == found.reference > 0.6
    assert any("30 test images: 0 differ" in line for line in said)
    facts = facts_of(done.path)
    assert facts["classes"] == list(DATA.classes) and facts["licence"] == "CC0"
    assert facts["mean"] == list(DATA.mean) and facts["std"] == list(DATA.std)
    assert facts["made"]["training"] == RECIPE and facts["made"]["seed"] == 3
    assert facts["made"]["from"] == "student.safetensors" and str(student.parent) not in str(facts)


@pytest.mark.slow
def test_int8_is_calibrated_on_training_images_and_compared_on_test_images(
    student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.Tensor] = []
    real = deploy.export_onnx_int8

    def noted(model: nn.Module, **how: Any) -> bytes:
        asked.append(how["images"])
        return real(model, **how)

    monkeypatch.setattr(deploy, "export_onnx_int8", noted)
    said: list[str] = []
    done = ship(ShipOptions(student, "onnx-int8"), said.append)
    assert torch.equal(asked[0], DATA.train.images)
    assert done.path.name == "student.int8.onnx" and done.comparison.difference > 1e-4
    assert done.bytes < 40_000 and facts_of(done.path)["licence"].startswith("not stated")
    assert any(re.search(r"Bytes: [\d,]+; in float 1\d\d,\d+", line) for line in said)
    assert any("On this processor int8" in line for line in said)


@pytest.mark.skipif(deploy.find_compiler() is None, reason="there is no C compiler")
@pytest.mark.parametrize("weights", [None, "float"])
def test_c_header_is_compiled_and_its_memory_told(weights: str | None, student: Path) -> None:
    said: list[str] = []
    done = ship(ShipOptions(student, "c", weights=weights, out=Path("deep/net.h")), said.append)
    text = Path("deep/net.h").read_text()
    assert f"#define KD_FLASH {done.flash} " in text and f"#define KD_RAM {done.ram} " in text
    assert "licence: not stated" in text and '"model": "mlp_25k"' in text
    assert done.comparison.difference > 1e-4 if weights is None else done.comparison.different == 0
    assert any("This fits on a board with 256 kB of flash and 64 kB of RAM" in line for line in said)
    exact = [line for line in said if "0 of 30 answers differ from PyTorch's with the same rounded" in line]
    assert len(exact) == (weights is None)


def test_without_a_compiler_the_header_is_written_and_that_is_told(
    student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "find_compiler", lambda: None)
    said: list[str] = []
    assert ship(ShipOptions(student, "c"), said.append).path.exists()
    assert any("There is no C compiler here" in line and "not compiled" in line for line in said)


def test_a_file_that_answers_otherwise_is_not_written(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = deploy.OnnxFile.logits
    monkeypatch.setattr(deploy.OnnxFile, "logits", lambda self, images: real(self, images) + 0.1)
    with pytest.raises(
        ArgumentError, match=r"answers otherwise than PyTorch: 0 of 30 .* Nothing was written"
    ):
        ship(ShipOptions(student, "onnx"), print)
    assert not Path("student.onnx").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"to": "coreml"}, "--to must be one of onnx, onnx-int8, executorch, c; found 'coreml'"),
        ({"weights": "int8"}, "--weights is for --to c; found --to onnx"),
        ({"to": "c", "weights": "int4"}, "int8 or float; found 'int4'"),
        ({"size": 32}, "--size is about images of your own"),
        ({"out": Path("models/student.safetensors")}, "is there already.*--overwrite"),
        ({"out": Path("models/student.safetensors/x.onnx")}, "can't be written"),
    ],
)
def test_unusable_options_are_told_and_nothing_is_written(
    changed: dict[str, Any], message: str, student: Path
) -> None:
    before = student.read_bytes()
    with pytest.raises(ArgumentError, match=message):
        ship(replace(ShipOptions(student, "onnx"), **changed), print)
    assert student.read_bytes() == before and sorted(Path().iterdir()) == [Path("models")]


@pytest.mark.slow
def test_an_existing_file_is_replaced_on_request_and_a_folder_holds_the_file(student: Path) -> None:
    Path("there.onnx").write_text("an earlier file")
    ship(ShipOptions(student, "onnx", out=Path("there.onnx"), overwrite=True), print)
    assert facts_of(Path("there.onnx"))["classes"] == list(DATA.classes)
    assert ship(ShipOptions(student, "onnx", out=Path("models")), print).path == Path("models/student.onnx")


def test_other_files_are_refused_with_the_reason(student: Path, trained: nn.Module) -> None:
    def refused(content: Any, message: str, error: type[Exception] = CheckpointError) -> None:
        if isinstance(content, bytes):
            Path("other").write_bytes(content)
        else:
            training.save_weights(trained, "other", content)
        with pytest.raises(error, match=message):
            ship(ShipOptions(Path("other"), "onnx"), print)

    refused(b"not a network", "not a whole safetensors file")
    refused(b"PK\x03\x04", "holds a pickle")
    refused({}, "doesn't say which network it holds.*kdcourse.deploy.export_onnx")
    refused({"format": 2, "position": {}}, "checkpoint of a training under way")
    refused(
        notes(classes=["cat", "dog"]),
        r"classes cat, dog \(2\), and 'tiny' has .*--data FOLDER",
        ArgumentError,
    )
    refused(notes(recipe={"model": "pocket_17k"}), "another architecture than PocketCNN")
    refused(notes(recipe={"model": "no_such"}), "There is no model 'no_such'", ArgumentError)
    for path, message in ((Path("missing"), "There is no file missing"), (student.parent, "is a folder")):
        with pytest.raises(CheckpointError, match=message):
            ship(ShipOptions(path, "onnx"), print)


@pytest.mark.slow
def test_a_student_for_masks_is_written_as_onnx_alone(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny.scenes(8, 4)
    monkeypatch.setattr(room, "SEGMENTATION", replace(room.SEGMENTATION, student_data=lambda: data))
    torch.manual_seed(0)
    options = {"widths": [4, 6], "depth": 1}
    unet = models.build("pocket_unet", data=data, **options)
    told = {"model": "pocket_unet", "options": options, "classes": list(data.classes)}
    training.save_weights(unet, student, told)
    said: list[str] = []
    found = ship(ShipOptions(student, "onnx"), said.append).comparison
    assert (found.images, found.pixels, found.different) == (4, 4 * 16 * 16, 0) and found.close
    expected = evaluation.evaluate_segmentation(unet, data.test, data).mean_iou
    assert found.accuracy == pytest.approx(expected) and any(
        "0 of 1,024 pixels differ" in line for line in said
    )
    with pytest.raises(ArgumentError, match="--to c writes classifiers"):
        ship(ShipOptions(student, "c"), print)
    with pytest.raises(ArgumentError, match="--data is for classifiers"):
        ship(ShipOptions(student, "onnx", out=Path("other.onnx"), folder=tmp_path), print)


def test_a_student_of_own_images_needs_their_folder(
    student: Path, trained: nn.Module, tmp_path: Path
) -> None:
    own = tiny.folder(tmp_path / "images", 60)
    names = ["a dot", "noise & co", "stripes"]
    training.save_weights(trained, student, notes(classes=names))
    found = room.load_student(student, folder=own)
    assert isinstance(found.data, Dataset) and list(found.data.classes) == names
    with pytest.raises(DataError):
        room.load_student(student, folder=tmp_path / "nowhere")


def test_command_tells_errors_in_one_line(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = CliRunner().invoke(cli.app, ["ship", str(student), "--to", "tflite"])
    assert told.exit_code == 2 and told.output.startswith(
        "error: --to must be one of onnx, onnx-int8, executorch, c"
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    told = CliRunner().invoke(cli.app, ["ship", str(student)])
    assert told.exit_code == 2 and "error: Exporting to ONNX needs onnxruntime" in told.output
    assert 'pip install "kdcourse[deploy]"' in told.output and not Path("student.onnx").exists()


def test_executorch_answers_as_pytorch(student: Path) -> None:
    pytest.importorskip("executorch")
    said: list[str] = []
    done = ship(ShipOptions(student, "executorch", licence="CC0"), said.append)
    assert done.path == Path("student.pte") and done.bytes == done.path.stat().st_size
    assert (done.comparison.images, done.comparison.different) == (30, 0) and done.comparison.close
    assert any("30 test images: 0 differ" in line for line in said)
    facts = deploy.ExecutorchFile(done.path.read_bytes()).facts()
    assert facts["licence"] == "CC0" and facts["made"]["training"] == RECIPE


def test_missing_executorch_is_told_and_nothing_is_written(
    student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("kdcourse.deploy.executorch_export.version", version)
    told = CliRunner().invoke(cli.app, ["ship", str(student), "--to", "executorch"])
    assert told.exit_code == 2 and "error: Writing for ExecuTorch needs executorch" in told.output
    assert "pip install executorch" in told.output and not Path("student.pte").exists()


def test_weights_of_the_course_have_its_licence(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdcourse.files import sha256

    folder = student.parent
    (folder / "SHA256SUMS").write_text(f"{sha256(student)}  student.safetensors\n")
    monkeypatch.setattr(room, "shipped", lambda name: folder)
    loaded = room.load_student(student)
    assert room._facts(ShipOptions(student, "onnx"), loaded)["licence"].startswith("MIT")
