from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdcourse.data import View
from kdcourse.distillation import (
    Ensemble,
    SoftTargets,
    distil,
    hinton_loss,
    soft_targets,
    views_shown,
)
from kdcourse.errors import ArgumentError, CheckpointError, TeacherWarning
from kdcourse.training import fit
from tests.distillation import tiny
from tests.distillation.test_objective import objective
from tests.training.toys import FIT, net, without_seconds

FITTING = {key: value for key, value in FIT.items() if key not in ("seed", "epochs")}


class Counting(nn.Module):
    """A teacher that knows the task and counts the pictures that it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = tiny.quarter_reader()
        self._asked: list[int] = []  # private, hence no part of the teacher's digest

    @property
    def asked(self) -> list[int]:
        return self._asked

    def __deepcopy__(self, memo: dict[int, object]) -> Counting:
        twin = Counting()
        twin._asked = self._asked  # copies report to the same list
        return twin

    def forward(self, images: Tensor) -> Tensor:
        self._asked.append(len(images))
        return self.reader(images)


class Rounded(nn.Module):
    """A teacher whose answers carry the rounding of float16, in which soft targets are stored."""

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, images: Tensor) -> Tensor:
        return self.teacher(images).half().float()


def run(
    student: nn.Module, teacher: nn.Module | SoftTargets, folder: Path | None, **change: Any
) -> dict[str, Any]:
    settings: dict[str, Any] = FITTING | {"temperature": 2.0, "alpha": 0.9, "epochs": 3, "seed": 3}
    cache = False if folder is None else folder
    return without_seconds(distil(student, teacher, tiny.dataset(), cache=cache, **(settings | change)))


def assert_same_student(one: nn.Module, other: nn.Module, tolerance: float) -> None:
    for (name, a), (_, b) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=0, msg=name)


@pytest.mark.parametrize("views", [2, 3, None])
def test_stored_views_and_the_teacher_asked_live_make_the_same_student(
    tmp_path: Path, views: int | None
) -> None:
    teacher, data = tiny.quarter_reader(), tiny.dataset()
    augmented: dict[str, Any] = {"augmentation": tiny.AUGMENTATION, "views": views, "view_seed": 5}
    stored, live = net(), net()
    shown = views_shown(tiny.AUGMENTATION, views, 5, 3)
    targets = soft_targets(
        teacher, data.train, data, views=shown, cache=tmp_path, dtype=torch.float32, progress=False
    )
    run(stored, targets, tmp_path, **augmented)
    fit(
        live, data, epochs=3, seed=3, objective=objective(teacher, temperature=2.0, alpha=0.9),
        **augmented, **FITTING,
    )  # fmt: skip
    assert_same_student(stored, live, 1e-4)
    # Another view's answers would have made another student.
    other = net()
    run(other, teacher, tmp_path, augmentation=tiny.AUGMENTATION, views=views, view_seed=6)
    with pytest.raises(AssertionError):
        assert_same_student(other, live, 1e-4)


@pytest.mark.parametrize("augmented", [{}, {"augmentation": tiny.AUGMENTATION, "views": 2}])
def test_what_distil_stores_itself_is_the_live_teacher_in_float16(
    tmp_path: Path, augmented: dict[str, Any]
) -> None:
    teacher, data = tiny.quarter_reader(), tiny.dataset()
    stored, live = net(), net()
    run(stored, teacher, tmp_path, **augmented)
    assert list(tmp_path.glob("*.npy"))
    minimised = objective(Rounded(teacher), temperature=2.0, alpha=0.9)
    fit(live, data, epochs=3, seed=3, objective=minimised, view_seed=0, **augmented, **FITTING)
    assert_same_student(stored, live, 1e-4)


def test_the_student_learns_from_the_teacher_alone(tmp_path: Path) -> None:
    data = tiny.dataset()
    order = (2, 0, 3, 1)  # a teacher with names of its own: only from it can the student have them
    teacher, student = tiny.quarter_reader(order), nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    wrong = soft_targets(teacher, data.train, data, cache=False, progress=False)
    run(student, wrong, tmp_path, alpha=1.0, epochs=8)
    with torch.no_grad():
        logits = student(data.normalise(data.test.images))
        answers = teacher(data.normalise(data.test.images)).argmax(1)
    assert float((logits.argmax(1) == answers).double().mean()) > 0.9


def test_the_training_loss_is_hintons(tmp_path: Path) -> None:
    data, teacher, student = tiny.dataset(), tiny.quarter_reader(), net()
    student.drop.p = 0.0
    with torch.no_grad():
        images = data.normalise(data.train.images)
        twin = net()
        twin.drop.p = 0.0
        expected = hinton_loss(twin(images), teacher(images), data.train.labels, temperature=3.0, alpha=0.7)
    told = run(student, teacher, tmp_path, temperature=3.0, alpha=0.7, epochs=1, batch_size=70)
    assert told["epochs"][0]["train_loss"] == pytest.approx(float(expected), rel=1e-3)
    assert "temperature=3" in told["settings"]["objective"]


@pytest.mark.parametrize(
    "augmented",
    [{}, {"augmentation": tiny.AUGMENTATION, "views": 2}, {"augmentation": tiny.AUGMENTATION}],
    ids=["plain", "stored views", "live"],
)
def test_the_teacher_is_untouched(tmp_path: Path, augmented: dict[str, Any]) -> None:
    teacher, data = tiny.Teacher(), tiny.dataset()
    fit(teacher, data, **(FIT | {"epochs": 20, "learning_rate": 0.2}))
    teacher.train()
    teacher.drop.eval()
    before, modes = tiny.state(teacher), [part.training for part in teacher.modules()]
    for p in teacher.parameters():
        p.grad = torch.ones_like(p)
    run(net(), teacher, tmp_path, **augmented)
    assert tiny.same_state(teacher, before)
    assert [part.training for part in teacher.modules()] == modes
    assert all(p.requires_grad and torch.equal(p.grad, torch.ones_like(p)) for p in teacher.parameters())


@pytest.mark.parametrize("augmented", [{}, {"augmentation": tiny.AUGMENTATION}])
def test_with_alpha_zero_a_distilled_student_is_a_plain_one(
    tmp_path: Path, augmented: dict[str, Any]
) -> None:
    teacher = Counting()
    distilled, plain = net(), net()
    told = run(distilled, teacher, tmp_path, alpha=0.0, **augmented)
    expected = without_seconds(fit(plain, tiny.dataset(), view_seed=0, **augmented, **FIT))
    assert_same_student(distilled, plain, 0)
    assert told["epochs"] == expected["epochs"]
    assert sum(teacher.asked) <= 70  # looked at once, whether it knows the task, and not for targets
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("views", [None, 2])
def test_students_of_several_seeds_ask_the_teacher_once(tmp_path: Path, views: int | None) -> None:
    teacher = Counting()
    settings = {} if views is None else {"augmentation": tiny.AUGMENTATION, "views": views}
    run(net(1), teacher, tmp_path, seed=1, **settings)
    first = sum(teacher.asked)
    assert first >= 70 * (views or 1)
    teacher.asked.clear()
    for seed, temperature in ((2, 2.0), (3, 5.0)):
        run(net(seed), teacher, tmp_path, seed=seed, temperature=temperature, **settings)
    # A look at its accuracy, and a few pictures for the sake of stored answers: none of the 70 anew.
    assert sum(teacher.asked) <= 2 * (70 + 16)
    assert len(list(tmp_path.glob("*.npy"))) == (views or 1)


def test_without_a_number_of_views_the_teacher_sees_every_batch(tmp_path: Path) -> None:
    teacher = Counting()
    run(net(), teacher, tmp_path, augmentation=tiny.AUGMENTATION)
    assert teacher.asked.count(16) == 12  # three epochs of four steps
    assert not list(tmp_path.iterdir())


def test_nothing_is_stored_where_no_cache_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path))
    run(net(), tiny.quarter_reader(), None)
    assert not list(tmp_path.rglob("*.npy"))


def test_an_ensemble_teaches(tmp_path: Path) -> None:
    ensemble = Ensemble([tiny.quarter_reader(), tiny.quarter_reader()], average="probabilities")
    assert len(run(net(), ensemble, tmp_path)["epochs"]) == 3


def test_progress_bars_are_shown_or_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(net(), tiny.quarter_reader(), tmp_path / "a")
    assert capsys.readouterr().err == ""
    run(net(), tiny.quarter_reader(), tmp_path / "b", progress="student")
    said = capsys.readouterr().err
    assert "soft targets" in said and "student" in said


def test_a_distilled_run_goes_on_with_its_own_teacher_only(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(epoch: int, step: int, loss: float) -> None:
        if epoch == 1:
            raise Stop

    path, teacher = tmp_path / "run.safetensors", tiny.quarter_reader()
    with pytest.raises(Stop):
        run(net(), teacher, tmp_path, checkpoint=path, after_step=stop)
    sharper = tiny.quarter_reader()
    sharper[2].weight.data *= 2
    with pytest.raises(CheckpointError, match=r"objective: 'kd.*there"):
        run(net(), sharper, tmp_path, checkpoint=path)
    with pytest.raises(CheckpointError, match=r"objective: 'kd.*there"):
        run(net(), teacher, tmp_path, checkpoint=path, temperature=4.0)
    resumed, whole = net(8), net()
    run(resumed, teacher, tmp_path, checkpoint=path)
    run(whole, teacher, tmp_path)
    assert_same_student(resumed, whole, 0)


def test_the_teacher_may_be_asked_in_another_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDCOURSE_PRECISION", "bfloat16")  # what auto comes to
    stored = {}
    for precision in ("float32", "bfloat16", "auto"):
        folder = tmp_path / precision
        run(net(), tiny.quarter_reader(), folder, teacher_precision=precision, precision="float32")
        [stored[precision]] = [file.name for file in folder.iterdir()]
    assert stored["float32"] != stored["bfloat16"] == stored["auto"]
    with pytest.raises(ArgumentError, match="found 'float16'"):
        run(net(), tiny.quarter_reader(), None, teacher_precision="float16")


def test_views_shown() -> None:
    assert views_shown(None, None, 4, 9) == (View(),) == views_shown(None, 3, 4, 9)
    new = views_shown(tiny.AUGMENTATION, None, 4, 3)
    assert new == tuple(View(tiny.AUGMENTATION, 4, number) for number in range(3))
    assert views_shown(tiny.AUGMENTATION, 2, 4, 3) == new[:2]
    assert views_shown(tiny.AUGMENTATION, 9, 4, 3) == new


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": -1.0}, "temperature"),
        ({"alpha": 1.1}, "alpha, .* found 1.1"),
        ({"alpha": -0.1}, "alpha, .* found -0.1"),
        ({"epochs": 0}, "epochs must be at least 1; found 0"),
        ({"views": 0, "augmentation": tiny.AUGMENTATION}, "views must be at least 1.*found 0"),
        ({"learning_rate": 0.0}, "learning_rate"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        run(net(), tiny.quarter_reader(), tmp_path, **change)


def test_a_student_cannot_teach_itself(tmp_path: Path) -> None:
    student = tiny.quarter_reader()
    with pytest.raises(ArgumentError, match=r"one and the same object.*copy.deepcopy"):
        run(student, student, tmp_path)


def test_a_teacher_that_has_other_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    with pytest.warns(TeacherWarning, match="in another order"):
        run(net(), tiny.quarter_reader((1, 2, 3, 0)), tmp_path)


def test_soft_targets_that_lack_a_view(tmp_path: Path) -> None:
    data = tiny.dataset()
    plain = soft_targets(tiny.quarter_reader(), data.train, data, cache=False, progress=False)
    augmented = {"augmentation": tiny.AUGMENTATION, "views": 2}
    with pytest.raises(ArgumentError, match=r"lack 2 of the 2 views .* such as 'shift1.*-view0'"):
        run(net(), plain, tmp_path, **augmented)
    assert len(run(net(), plain, tmp_path)["epochs"]) == 3


@pytest.mark.parametrize("other", ["fewer", "reordered"])
def test_soft_targets_of_other_pictures(tmp_path: Path, other: str) -> None:
    data = tiny.dataset()
    index = torch.arange(60) if other == "fewer" else torch.arange(70).flip(0)
    targets = soft_targets(tiny.quarter_reader(), data.train.subset(index), data, cache=False, progress=False)
    with pytest.raises(ArgumentError, match=rf"\({len(index)} images\) were computed for another split"):
        run(net(), targets, tmp_path)
