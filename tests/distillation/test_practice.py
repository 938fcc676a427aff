"""What practitioners bring as teachers, checkpoints and students, and what becomes of it."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from kdcourse import evaluation, models, training
from kdcourse.data import Augmentation, Dataset, Split, image_folder
from kdcourse.distillation import Ensemble, check_teacher, distil, freeze, soft_targets, teacher_digest
from kdcourse.errors import ArgumentError, CheckpointError, TeacherWarning

ONCE: dict[str, Any] = dict(
    epochs=1, seed=0, batch_size=30, learning_rate=0.05, precision="float32", device="cpu", progress=False
)
TAUGHT: dict[str, Any] = dict(ONCE, temperature=2.0, alpha=0.9, cache=False)
SHIFTED = Augmentation(shift=1)


def stripes(classes: int = 3, channels: int = 3) -> Dataset:
    """A bright stripe whose place is the class."""

    def split(count: int, seed: int) -> Split:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(count) % classes
        images = torch.randint(0, 60, (count, channels, 12, 12), generator=generator)
        width = 12 // classes
        for image, label in zip(images, labels.tolist(), strict=True):
            image[:, :, label * width : (label + 1) * width] += 150
        return Split(images.to(torch.uint8), labels)

    names = tuple(f"c{k}" for k in range(classes))
    return Dataset("stripes", names, split(90, 1), split(30, 2), split(30, 3))


class Finds(nn.Module):
    """Knows where the stripe is, without having been trained."""

    def __init__(self, classes: int = 3, channels: int = 3) -> None:
        super().__init__()
        self.columns = nn.Conv2d(channels, 1, (12, 1), bias=False)
        self.head = nn.Linear(12, classes)
        with torch.no_grad():
            self.columns.weight.fill_(1 / (12 * channels))
            self.head.bias.zero_()
            self.head.weight.copy_(4 * torch.eye(classes).repeat_interleave(12 // classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.head(self.columns(images).flatten(1))
        return found


def student(channels: int = 3, classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 144, classes))


def right(model: nn.Module, data: Dataset) -> float:
    return evaluation.accuracy(evaluation.predict(model, data.test, data), data.test.labels)


DATA = stripes()


# -- lazy layers ------------------------------------------------------------------------------------


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))


def test_a_lazy_teacher_without_weights_is_refused(tmp_path: Path) -> None:
    """Its first forward pass would draw random ones, and a student would learn from those."""
    asked = {
        "distil": lambda: distil(student(), lazy(), DATA, **TAUGHT),
        "on the fly": lambda: distil(student(), lazy(), DATA, **TAUGHT, augmentation=SHIFTED),
        "soft_targets": lambda: soft_targets(lazy(), DATA.train, DATA, cache=False, progress=False),
        "Ensemble": lambda: Ensemble([lazy(), lazy()]),
        "freeze": lambda: freeze(lazy()),
        "digest": lambda: teacher_digest(lazy()),
        "save": lambda: training.save_weights(lazy(), tmp_path / "lazy.safetensors"),
    }
    for name, ask in asked.items():
        with pytest.raises(
            ArgumentError, match=r"lazy layers without weights \(0\.weight.* load its weights"
        ):
            ask()
            raise AssertionError(name)
    assert not list(tmp_path.iterdir())


def test_a_lazy_teacher_teaches_once_its_weights_are_loaded() -> None:
    trained = lazy()
    training.fit(trained, DATA, **dict(ONCE, epochs=3))
    loaded = lazy()
    loaded.load_state_dict(trained.state_dict())
    assert torch.equal(
        evaluation.predict(Ensemble([loaded]), DATA.test, DATA), evaluation.predict(trained, DATA.test, DATA)
    )
    distil(lazy(), loaded, DATA, **TAUGHT)


# -- quantized teachers -----------------------------------------------------------------------------


def quantized(how: str, network: nn.Module) -> nn.Module:
    """An int8 copy, as three tools make it."""
    network = copy.deepcopy(network).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is deprecated
        if how == "torchao":
            quantization = pytest.importorskip("torchao.quantization")
            quantization.quantize_(network, quantization.Int8WeightOnlyConfig())
            return network
        ao = pytest.importorskip("torch.ao.quantization")
        if how == "dynamic":
            made: nn.Module = ao.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)
            return made
        whole = nn.Sequential(ao.QuantStub(), network, ao.DeQuantStub()).eval()
        whole.qconfig = ao.get_default_qconfig(
            "x86" if "x86" in torch.backends.quantized.supported_engines else "qnnpack"
        )
        prepared = ao.prepare(whole)
        prepared(DATA.normalise(DATA.train.images))
        made = ao.convert(prepared)
        return made


@pytest.mark.parametrize("how", ["dynamic", "static", "torchao"])
@pytest.mark.filterwarnings("ignore")  # of torch.ao
def test_quantized_teachers(how: str, tmp_path: Path) -> None:
    plain = Finds()
    teacher = quantized(how, plain)
    assert right(teacher, DATA) == 1.0
    logits = evaluation.predict(teacher, DATA.test, DATA)
    assert not torch.equal(logits, evaluation.predict(plain, DATA.test, DATA))  # it is quantized
    both = evaluation.predict(Ensemble([teacher, copy.deepcopy(teacher)]), DATA.test, DATA)
    torch.testing.assert_close(both, logits)
    distil(student(), teacher, DATA, **dict(TAUGHT, cache=tmp_path))
    distil(student(), teacher, DATA, **TAUGHT, augmentation=SHIFTED)
    # Another one's stored answers must not be found under its name.
    other = Finds()
    nn.init.normal_(other.head.weight)
    assert teacher_digest(teacher) == teacher_digest(quantized(how, plain))
    assert len({teacher_digest(each) for each in (teacher, plain, quantized(how, other))}) == 3
    with pytest.raises(ArgumentError, match=r"quantized layers \(.*safetensors can't hold"):
        training.save_weights(teacher, tmp_path / "weights.safetensors")
    assert not (tmp_path / "weights.safetensors").exists()
    # Whole numbers take a byte each.
    assert evaluation.weight_bytes(quantized(how, nn.Sequential(nn.Flatten(), nn.Linear(432, 100)))) < 60_000


@pytest.mark.filterwarnings("ignore")
def test_feature_maps_of_a_quantized_teacher_are_learned_from() -> None:
    maps = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(576, 3))
    own = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3))
    training.fit(maps, DATA, **dict(ONCE, epochs=3))
    distil(own, quantized("static", maps), DATA, method="fitnet", alpha=0.5, **ONCE)


# -- images that a teacher can't take ---------------------------------------------------------------


def test_a_teacher_for_colour_and_images_in_grey() -> None:
    grey, teacher = stripes(channels=1), Finds(channels=3)
    for options in ({}, {"augmentation": SHIFTED}):
        with pytest.raises(
            ArgumentError, match=r"\(Finds\) can't take images \[90, 1, 12, 12\].*channels=.*Preprocessed"
        ):
            distil(student(channels=1), teacher, grey, **TAUGHT, **options)
    # The cure that the error names.
    wrapped = models.Preprocessed(teacher, size=None, mean=DATA.mean, std=DATA.std, data=grey)
    assert right(wrapped, grey) == 1.0
    distil(student(channels=1), wrapped, grey, **TAUGHT)


def test_a_teacher_for_grey_and_images_in_colour() -> None:
    with pytest.raises(ArgumentError, match=r"can't take images \[90, 3, 12, 12\].*read the images so"):
        distil(student(), Finds(channels=1), DATA, **TAUGHT)


# -- classes in another order -----------------------------------------------------------------------


def reordered(data: Dataset, order: tuple[int, ...]) -> Dataset:
    """The same images, the classes in another order."""
    place = torch.tensor(order).argsort()
    splits = {
        part: Split(split.images, place[split.labels])
        for part in ("train", "validation", "test")
        for split in [getattr(data, part)]
    }
    return replace(data, classes=tuple(data.classes[k] for k in order), **splits)


def test_two_exchanged_classes_of_six_are_noticed_and_put_right() -> None:
    """A mean recall of two thirds looks like that of a fair teacher."""
    teacher, data = Finds(6), reordered(stripes(6), (1, 0, 2, 3, 4, 5))
    with pytest.warns(
        TeacherWarning, match=r"c0 for most images of c1, c1 for most images of c0.*SelectedClasses"
    ):
        distil(student(classes=6), teacher, data, **TAUGHT)
    mended = models.SelectedClasses(teacher, stripes(6).classes, data.classes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distil(student(classes=6), mended, data, **TAUGHT)
    assert right(mended, data) == 1.0 and right(teacher, data) == pytest.approx(2 / 3)


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (0, 2, 1)])
def test_every_other_order_is_noticed(order: tuple[int, ...]) -> None:
    data = reordered(DATA, order)
    with pytest.warns(TeacherWarning, match="another order than those of 'stripes'"):
        check_teacher(Finds(), data.train, data)


def test_a_weak_teacher_is_not_taken_for_a_disordered_one() -> None:
    """It names one class for nearly everything: classes that are mistaken, and none exchanged."""
    teacher = Finds()
    with torch.no_grad():
        teacher.head.bias[0] = 200.0
    with pytest.warns(TeacherWarning, match="Its last layer may be untrained"):
        check_teacher(teacher, DATA.train, DATA)


def test_a_network_of_more_classes_gives_the_logits_of_some() -> None:
    picked = models.SelectedClasses(Finds(6), tuple("abcdef"), ("e", "b"))
    x = DATA.normalise(DATA.test.images)
    assert torch.equal(picked(x), picked.network(x)[:, [4, 1]])
    with pytest.raises(ArgumentError, match=r"g is not, among the 6 that it knows \(a, b, c, d, e, \.\.\.\)"):
        models.SelectedClasses(Finds(6), tuple("abcdef"), ("e", "g"))
    with pytest.raises(ArgumentError, match="a is not"):
        models.SelectedClasses(Finds(3), ("a", "a", "b"), ("a", "b"))
    with pytest.raises(ArgumentError, match="returns 3 logits, and 2 classes were named"):
        models.SelectedClasses(Finds(3), ("a", "b"), ("a", "b"))(x)


# -- checkpoints from elsewhere ---------------------------------------------------------------------


def test_a_checkpoint_saved_on_a_gpu_is_loaded_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, teacher = tmp_path / "teacher.pth", Finds()
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save(teacher.state_dict(), path)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(path, weights_only=True)
    model = student()
    with pytest.raises(CheckpointError, match="holds a pickle") as caught:
        training.load_weights(model, path)
    # What the error tells to do is done as it stands.
    said = str(caught.value)
    advice = said[
        said.index("model.load_state_dict") : said.index("weights_only=True))") + len("weights_only=True))")
    ]
    space = {"torch": torch, "model": Finds()}
    nn.init.zeros_(space["model"].head.weight)
    exec(advice, space)
    assert torch.equal(space["model"].head.weight, teacher.head.weight)
    training.save_weights(space["model"], tmp_path / "teacher.safetensors")
    assert training.load_weights(Finds(), tmp_path / "teacher.safetensors") == {}


def test_a_program_that_torch_exported_is_a_teacher(tmp_path: Path) -> None:
    """It has no eval mode: what it computes was fixed when it was exported."""
    inner = Finds().eval()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(inner, (torch.zeros(2, 3, 12, 12),), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "teacher.pt2")
    teacher = torch.export.load(tmp_path / "teacher.pt2").module()
    assert right(teacher, DATA) == 1.0
    distil(student(), teacher, DATA, **TAUGHT)
    distil(student(), teacher, DATA, **TAUGHT, augmentation=SHIFTED)
    pair = Ensemble([teacher, Finds()])
    torch.testing.assert_close(
        evaluation.predict(pair, DATA.test, DATA), evaluation.predict(inner, DATA.test, DATA)
    )


# -- folders ----------------------------------------------------------------------------------------


def one_each(root: Path) -> Path:
    for part in ("train", "val", "test"):
        for tone, name in ((40, "dark"), (200, "light")):
            (root / part / name).mkdir(parents=True)
            level = tone + 5 * ("train", "val", "test").index(part)
            Image.new("L", (8, 8), level).save(root / part / name / "only.png")
    return root


def test_one_image_of_each_class_is_enough_to_be_trained_and_distilled(tmp_path: Path) -> None:
    data = image_folder(one_each(tmp_path), size=8, progress=False)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [2, 2, 2]
    teacher = models.build("mlp_25k", data=data)
    training.fit(teacher, data, **dict(ONCE, epochs=30))
    distil(models.build("pocket_2k", data=data), teacher, data, **TAUGHT)
    assert right(teacher, data) == 1.0
