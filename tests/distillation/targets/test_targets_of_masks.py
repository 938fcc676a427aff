from __future__ import annotations

import pytest
import torch
from torch import nn

from kdcourse.data import Augmentation, Dataset, MaskedSplit, View
from kdcourse.distillation import Ensemble, distil, soft_targets
from kdcourse.errors import ArgumentError, TeacherWarning
from kdcourse.training import fit
from tests.distillation import tiny
from tests.training.test_segmentation import dataset, net
from tests.training.toys import FIT

FLIPS = Augmentation(shift=1, flip=True, erase=0.0)
SETTINGS = {key: value for key, value in FIT.items() if key != "learning_rate"} | {"temperature": 2.0}


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    model = net(1)
    fit(model, dataset(), **(FIT | {"epochs": 6}))
    return model.train()


def test_they_are_what_the_teacher_says_of_each_picture_and_view(teacher: nn.Module) -> None:
    data, views = dataset(), (View(), View(FLIPS, 0, 1))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    targets = soft_targets(teacher, data.train, data, views=views, batch_size=16, progress=False)
    assert teacher.training and all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    assert len(targets) == 70 and targets.nbytes == 2 * 70 * 3 * 64 * 2
    index = torch.randperm(70)[:9]
    teacher.eval()
    for view in views:
        shown = data.normalise(view.apply(data.train.images[index], index))
        with torch.no_grad():
            expected = teacher(shown)
        assert torch.allclose(targets.logits(view, index), expected, atol=2e-3, rtol=1e-3)
        targets.check_labels(view, index, view.apply_to_masks(data.train.masks[index], index).long())
    teacher.train()


def test_another_order_view_or_place_is_told(teacher: nn.Module) -> None:
    data = dataset()
    targets = soft_targets(teacher, data.train, data, progress=False)
    index = torch.arange(5)
    with pytest.raises(ArgumentError, match="another mask than at the same position"):
        targets.check_labels(View(), index, data.train.masks[index + 1].long())
    with pytest.raises(ArgumentError, match="stored for the view"):
        targets.logits(View(FLIPS), index)
    with pytest.raises(ArgumentError, match=r"0\.\.69"):
        targets.logits(View(), index + 66)
    shuffled = data.train.subset(torch.arange(69, -1, -1))
    other = type(data)(data.name, data.classes, shuffled, data.validation, data.test)
    with pytest.raises(ArgumentError, match="another split"):
        distil(net(2), targets, other, alpha=1.0, **SETTINGS)


def test_bad_settings_and_teachers_are_told(teacher: nn.Module) -> None:
    data = dataset()
    for views in ((), (View(), View())):
        with pytest.raises(ArgumentError, match="at least one view"):
            soft_targets(teacher, data.train, data, views=views)
    with pytest.raises(
        ArgumentError, match=r"one class per pixel.* \[B, classes, H, W\].*returned \[64, 3\]"
    ):
        soft_targets(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), data.train, data, progress=False)
    few = tiny.dataset()
    maps = nn.Conv2d(few.image_shape[0], len(few.classes), 1)
    with pytest.raises(
        ArgumentError, match=r"one label per image.* \[B, classes\];.*returned \[70, 4, 8, 8\]"
    ):
        soft_targets(maps, few.train, few, cache=False, progress=False)


def test_a_student_learns_from_the_teacher_alone(teacher: nn.Module) -> None:
    data, student = dataset(), net(3)
    history = distil(student, teacher, data, alpha=1.0, learning_rate=0.05, **(SETTINGS | {"epochs": 8}))
    assert history.last.validation_iou is not None and history.last.validation_iou > 0.9
    assert history.settings["objective"].startswith("pixelwise(temperature=2), alpha=1")


def test_methods_for_masks_are_for_masks_alone(teacher: nn.Module) -> None:
    data = dataset()
    history = distil(
        net(3), teacher, data, method=["channelwise", "pairwise"], alpha=0.0, weights={"channelwise": 3, "pairwise": 2},
        **SETTINGS,
    )  # fmt: skip
    told = history.settings["objective"]
    assert told.startswith("channelwise(temperature=2) * 3 + pairwise(patch=4) * 2, alpha=0,")
    few = tiny.dataset()
    with pytest.raises(
        ArgumentError, match=r"channelwise is for masks, and 'quarters' has one label.*: .*kd"
    ):
        distil(tiny.Teacher(), tiny.quarter_reader(), few, method="channelwise", alpha=0.5, **SETTINGS)
    with pytest.raises(
        ArgumentError,
        match=r"kd is for labels, and 'squares' has one class.*: attention, borders, channelwise",
    ):
        distil(net(3), teacher, data, method="kd", alpha=0.5, **SETTINGS)


def test_logits_too_large_for_float16_are_kept_in_float32() -> None:
    data = dataset()
    huge = nn.Conv2d(3, 3, 1)
    nn.init.constant_(huge.weight, 1e5)
    with pytest.warns(UserWarning, match="beyond float16's 65504; they are kept in float32"):
        targets = soft_targets(huge, data.train, data, progress=False, batch_size=9)
    assert targets.nbytes == 4 * 70 * 3 * 64
    index = torch.arange(70)
    with torch.no_grad():
        expected = huge(data.normalise(data.train.images))
    assert torch.allclose(targets.logits(View(), index), expected, rtol=1e-6)


@pytest.mark.parametrize("views", [None, 2])
def test_stored_views_and_asking_on_the_fly_work(teacher: nn.Module, views: int | None) -> None:
    data, student = dataset(), net(3)
    history = distil(student, teacher, data, alpha=0.5, augmentation=FLIPS, views=views, **SETTINGS)
    assert len(history) == 3


def test_stored_logits_give_the_same_student_as_the_teacher_itself(teacher: nn.Module) -> None:
    data = dataset()
    targets = soft_targets(teacher, data.train, data, progress=False)
    runs = [distil(net(3), source, data, alpha=0.5, **SETTINGS) for source in (teacher, targets)]
    assert runs[0].column("train_loss") == runs[1].column("train_loss")


def test_an_untrained_teacher_is_warned_of() -> None:
    with pytest.warns(TeacherWarning, match=r"of each class's pixels on average, of \d+ images of 'squares'"):
        distil(net(3), net(4), dataset(), alpha=0.5, **SETTINGS)


def test_targets_of_the_other_kind_are_refused(teacher: nn.Module) -> None:
    data, few = dataset(), tiny.dataset()
    targets = soft_targets(teacher, data.train, data, progress=False)
    assert isinstance(few, Dataset)
    with pytest.raises(
        ArgumentError, match=r"one label per image, and these soft targets are for data with one class"
    ):
        distil(nn.Flatten(), targets, few, alpha=0.5, **SETTINGS)
    rows = soft_targets(tiny.quarter_reader(), few.train, few, cache=False, progress=False)
    with pytest.raises(
        ArgumentError, match=r"one class per pixel, and these soft targets are for data with one label"
    ):
        distil(net(3), rows, data, alpha=0.5, **SETTINGS)


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_an_ensemble_averages_pixel_by_pixel(teacher: nn.Module, average: str) -> None:
    data, second = dataset(), net(6)
    ensemble = Ensemble([teacher, second], average=average)  # type: ignore[arg-type]
    images = data.normalise(data.test.images)
    members = ensemble.member_logits(images)
    assert members.shape == (2, 20, 3, 8, 8)
    found = ensemble(images).softmax(1)
    expected = members.softmax(2).mean(0) if average == "probabilities" else members.mean(0).softmax(1)
    assert torch.allclose(found, expected, atol=1e-6)
    assert isinstance(data.train, MaskedSplit)
    targets = soft_targets(ensemble, data.train, data, progress=False)
    assert torch.isfinite(targets.logits(View(), torch.arange(3))).all()
