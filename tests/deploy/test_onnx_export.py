"""The file is run by onnxruntime here, by the reference evaluator there; what it says is asked of PyTorch."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from kdcourse import models
from kdcourse.data import Dataset, Split
from kdcourse.deploy import Exported, export_onnx, onnx_export
from kdcourse.distillation import Ensemble
from kdcourse.errors import ArgumentError

CLASSES = ("cat", "dog", "gnu")
SHAPE = (2, 6, 8)
MEAN, STD = (0.3, 0.6), (0.2, 0.4)


def small(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(4 * 3 * 4, 3),
    )  # fmt: skip
    with torch.no_grad():
        model(torch.randn(16, *SHAPE))  # moves the statistics of the normalisation
    return model


def export(model: nn.Module, path: Path, **changed: Any) -> Exported:
    arguments: dict[str, Any] = {"image_shape": SHAPE, "classes": CLASSES, "mean": MEAN, "std": STD}
    return export_onnx(model, path, **(arguments | changed))


def answer(path: Path, **inputs: Tensor) -> Tensor:
    """By a runtime that `export_onnx` doesn't use where onnxruntime is installed."""
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    return torch.from_numpy(ReferenceEvaluator(path.read_bytes()).run(None, arrays)[0])


def pictures(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(99)
    return torch.randint(0, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8)


def normalised(raw: Tensor) -> Tensor:
    """As the package does it in training."""
    split = Split(raw, torch.zeros(len(raw), dtype=torch.int64))
    return Dataset("animals", CLASSES, split, split, split, mean=MEAN, std=STD).normalise(raw)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(small(), tmp_path_factory.mktemp("onnx") / "deep" / "small.onnx")


@pytest.mark.parametrize("count", [1, 3, 7])
def test_file_takes_raw_pictures_in_any_number(written: Exported, count: int) -> None:
    model = small().eval()
    raw = pictures(count)
    with torch.no_grad():
        wanted = model(normalised(raw))
    torch.testing.assert_close(answer(written.path, pixels=raw), wanted, rtol=1e-5, atol=1e-5)


def test_report_tells_what_was_written(written: Exported) -> None:
    content = written.path.read_bytes()
    assert (written.bytes, written.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert written.input == "pixels" and written.opset == 18
    assert written.difference < 1e-5
    assert onnx.__version__ in written.checked_with or "onnxruntime" in written.checked_with


def test_file_explains_itself_and_says_nothing_of_where_it_was_made(written: Exported) -> None:
    proto = onnx.load(written.path)
    notes = {entry.key: json.loads(entry.value) for entry in proto.metadata_props}
    assert notes == {"classes": list(CLASSES), "mean": list(MEAN), "std": list(STD)}
    assert [entry.version for entry in proto.opset_import] == [18]
    text = written.path.read_bytes().decode("latin-1")
    for trace in (__file__, str(Path.home()), ".py", "site-packages", "stack_trace", torch.__version__):
        assert trace not in text


def test_traces_inside_branches_go_too() -> None:
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["a"], ["b"], doc_string="/home/me/model.py")], "inner", [],
        [onnx.helper.make_tensor_value_info("b", 1, [1])],
    )  # fmt: skip
    node = onnx.helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner)
    proto = onnx.helper.make_model(onnx.helper.make_graph([node], "outer", [], []))
    onnx_export._remove_traces(proto)
    assert b"/home/me" not in proto.SerializeToString()


@pytest.mark.slow
def test_same_model_same_bytes_in_another_process(written: Exported, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.deploy.test_onnx_export import export, small; "
        "print(export(small(), Path(sys.argv[1])).sha256)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "again.onnx")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [written.sha256]  # and nothing else on the screen
    assert export(small(seed=1), tmp_path / "other.onnx").sha256 != written.sha256


@pytest.mark.slow
def test_without_mean_and_std_the_file_takes_normalised_pictures(tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    assert export(small(), path, mean=None, std=None).input == "images"
    images = torch.randn(3, *SHAPE)
    with torch.no_grad():
        wanted = small().eval()(images)
    torch.testing.assert_close(answer(path, images=images), wanted, rtol=1e-5, atol=1e-5)


def test_model_is_left_as_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = small().train().double()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    randomness = torch.get_rng_state()
    export(model, tmp_path / "m.onnx")
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.dtype == torch.float64 for p in model.parameters())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert torch.equal(torch.get_rng_state(), randomness)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["depthwise_4k", "mlp_25k", "teacher"])
def test_classifiers_of_the_course_can_be_exported(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = models.build(name, num_classes=3)
    done = export(model, tmp_path / "m.onnx", image_shape=(1, 28, 28), mean=(0.3,), std=(0.35,))
    assert done.path.exists() and done.difference < 1e-5


@pytest.mark.slow
def test_segmenter_answers_for_every_pixel(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = models.build("pocket_unet", num_classes=3, in_channels=2)
    export(model, tmp_path / "m.onnx", image_shape=(2, 16, 16))
    raw = torch.randint(0, 256, (2, 2, 16, 16), dtype=torch.uint8)
    assert answer(tmp_path / "m.onnx", pixels=raw).shape == (2, 3, 16, 16)


def test_newer_operators(tmp_path: Path) -> None:
    done = export(small(), tmp_path / "m.onnx", opset=21)
    assert [entry.version for entry in onnx.load(done.path).opset_import] == [21]


def test_without_onnxruntime_the_reference_evaluator_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "reference evaluator" in export(small(), tmp_path / "m.onnx").checked_with


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_missing_package_is_named_with_its_cure(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def missing(name: str, anchor: str | None = None) -> ModuleType:
        if name == package:
            raise ModuleNotFoundError(name)
        return real(name, anchor)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=rf"needs {package}.*\n.*kdcourse\[deploy\]"):
        export(small(), tmp_path / "m.onnx")


class Noisy(nn.Module):
    """Answers otherwise every time."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small()

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images) + torch.randn(3)


class Deciding(nn.Module):
    """Looks at the values of its images to decide what to do."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small()

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images if images.mean() > 0 else -images)


class FixedBatch(nn.Module):
    """Knows one size of batch, though it pretends to know others."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small()

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images) * (2.0 if len(images) == 2 else 1.0)


class Pair(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images


def infinite() -> nn.Module:
    model = small()
    nn.init.constant_(model[-1].bias, float("inf"))
    return model


def overflowing() -> nn.Module:
    model = small()
    nn.init.constant_(model[-1].weight, 3e38)
    return model


class OnlyInTorch(nn.Module):
    """Uses an operator that ONNX has no words for."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.special.bessel_j0(images.flatten(1))[:, :3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "changed", "message"),
    [
        (lambda: "student.pt", {}, "must be a torch.nn.Module; found str"),
        (small, {"image_shape": (6, 8)}, r"image_shape must be .*found \(6, 8\)"),
        (small, {"image_shape": (2, 28, 28)}, r"can't take a batch of 2 images of shape \(2, 28, 28\)"),
        (small, {"classes": ("cat", "dog")}, r"must be \[2, 2\].*found \[2, 3\]"),
        (small, {"classes": "cat"}, "at least two classes"),
        (small, {"std": None}, "mean and std go together"),
        (small, {"mean": (0.3,)}, r"each of the 2 channel\(s\).*found mean=\(0.3,\)"),
        (small, {"std": (0.0, 0.4)}, "std above 0"),
        (small, {"opset": 17}, "opset must be from 18 to 23; found 17"),
        (Pair, {}, "one tensor of logits; found tuple"),
        (infinite, {}, "weights that are not finite"),
        (overflowing, {}, "logits are not finite"),
        (lambda: small().to("meta"), {}, "no weights"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), {}, "no weights yet.*lazy layers"),
        (lambda: nn.Linear(2**15, 2**15, device="meta"), {}, "take 4.3 GB"),
        (Noisy, {}, "answers otherwise than the model.*random numbers"),
        (Deciding, {}, "torch can't express this model in ONNX"),
        (FixedBatch, {}, "works for batches of 2 alone|torch can't express this model in ONNX"),
        (OnlyInTorch, {}, "torch can't express this model in ONNX"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_nothing_is_written(
    make: Any, changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "student.onnx"
    path.write_bytes(b"an earlier file")
    with pytest.raises(ArgumentError, match=message):
        export(make(), path, **changed)
    assert path.read_bytes() == b"an earlier file"
    assert [entry.name for entry in tmp_path.iterdir()] == ["student.onnx"]


class Flattening(nn.Module):
    """A network as they are written by hand, with one of many ways to flatten its maps."""

    def __init__(self, how: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.how, self.head = how, nn.Linear(2 * 6 * 8, 3)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.head(self.how(torch.relu(images)))
        return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        lambda x: x.view(x.size(0), -1),
        lambda x: x.reshape(x.shape[0], 96),
        lambda x: x.permute(0, 2, 3, 1).contiguous().view(x.size(0), -1),
        lambda x: torch.zeros(x.shape[0], 96) + x.flatten(1),
    ],
)
def test_a_batch_of_any_size_whatever_the_way_of_flattening(
    how: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    model = Flattening(how)
    path = export(model, tmp_path / "student.onnx").path
    for count in (1, 3, 33):
        torch.testing.assert_close(
            answer(path, pixels=pictures(count)), model(normalised(pictures(count))), rtol=1e-4, atol=1e-4
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda x: x.reshape(len(x), -1), r"Use x\.flatten\(1\), or x\.shape\[0\] in place of len\(x\)"),
        (lambda x: x.reshape(int(x.shape[0]), -1), r"in place of len\(x\) and int\(x\.shape\[0\]\)"),
        (
            lambda x: x.reshape(2, -1),
            r"takes 2 images at once, and not another number: .*use x\.flatten\(1\)",
        ),
        (lambda x: x.flatten(1).squeeze(), r"takes 2 images at once.*give squeeze a dimension"),
    ],
)
def test_a_batch_size_that_is_written_into_a_network_is_named_with_a_cure(
    how: Callable[[Tensor], Tensor], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match=message):
        export(Flattening(how), tmp_path / "student.onnx")
    assert not list(tmp_path.iterdir())


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"is a folder; name the file"):
        export(small(), tmp_path)


@pytest.mark.parametrize("wrong", [float("nan"), 0.01])
def test_file_that_answers_otherwise_is_not_written(
    wrong: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = onnx_export._runner

    def off(content: bytes, name: str) -> Any:
        run, who = real(content, name)
        # Wrong in one number of the second batch alone.
        return lambda images: run(images) + (wrong if len(images) == 1 else 0.0), who

    monkeypatch.setattr(onnx_export, "_runner", off)
    with pytest.raises(ArgumentError, match="answers otherwise"):
        export(small(), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_file_that_no_runtime_takes_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = onnx_export._describe

    def broken(proto: onnx.ModelProto, *notes: Any) -> None:
        real(proto, *notes)
        proto.graph.node[-1].op_type = "NoSuchOperator"

    monkeypatch.setattr(onnx_export, "_describe", broken)
    with pytest.raises(ArgumentError, match=r"can't be run: .*NoSuchOperator"):
        export(small(), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_room_is_entered_without_its_packages() -> None:
    program = "import sys, kdcourse.deploy; print({'onnx', 'onnxscript', 'onnxruntime'} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.slow
@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_an_ensemble_can_be_exported(average: Any, tmp_path: Path) -> None:
    for members in (
        [small(0), small(1)],
        [models.build("mlp_25k", num_classes=3, in_channels=2, size=(6, 8)) for _ in "ab"],
    ):
        ensemble = Ensemble(members, average)
        export(ensemble, tmp_path / "e.onnx")
        raw = pictures(4)
        wanted = ensemble(normalised(raw))
        torch.testing.assert_close(answer(tmp_path / "e.onnx", pixels=raw), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_in_other_precisions_are_exported(dtype: torch.dtype, tmp_path: Path) -> None:
    assert export(small().to(dtype), tmp_path / "m.onnx").difference < 1e-4


@pytest.mark.slow
def test_a_teacher_with_preprocessing_of_its_own_is_exported_with_it(tmp_path: Path) -> None:
    teacher = models.Preprocessed(
        models.build("pocket_2k", num_classes=3, in_channels=2), size=24, mean=(0.5, 0.4), std=(0.2, 0.3),
        data=SimpleNamespace(mean=MEAN, std=STD),
    ).eval()  # fmt: skip
    export(teacher, tmp_path / "t.onnx")
    raw = pictures(3)
    with torch.no_grad():
        wanted = teacher(normalised(raw))
    torch.testing.assert_close(answer(tmp_path / "t.onnx", pixels=raw), wanted, rtol=1e-3, atol=1e-3)
