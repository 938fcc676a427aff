"""What `distil` minimises: labels and terms, weighed; the teacher's outputs looked up or asked for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor, nn

from kdcourse.data import IGNORE, Batch, Batches, View
from kdcourse.distillation import (
    Ensemble,
    Method,
    SoftTargets,
    channelwise_loss,
    entropy,
    freeze,
    hinton_loss,
    kd_divergence,
    methods,
    pairwise_loss,
    pixelwise_loss,
    soft_targets,
    teacher_digest,
)
from kdcourse.distillation.objective import Distillation
from kdcourse.distillation.targets.source import source_of
from kdcourse.errors import ArgumentError
from kdcourse.training import CrossEntropy, fit
from tests.distillation import colours, tiny

ALPHAS = (0.0, 0.3, 1.0)


def objective(
    teacher: nn.Module | SoftTargets,
    *,
    alpha: float,
    method: Any = "kd",
    weights: dict[str, float] | None = None,
    **settings: Any,
) -> Distillation:
    return Distillation(methods.build(method, **settings), source_of(teacher), alpha=alpha, weights=weights)


def value(found: Tensor | dict[str, Tensor]) -> Tensor:
    return found["loss"] if isinstance(found, dict) else found


@pytest.fixture
def batch() -> Batch:
    data = tiny.dataset()
    return next(Batches(data.train, data, batch_size=8, seed=0, augmentation=tiny.AUGMENTATION).epoch(3))


@pytest.fixture
def masks() -> Batch:
    data = colours.dataset()
    return next(Batches(data.train, data, batch_size=6, seed=0, augmentation=colours.AUGMENTATION).epoch(2))


def recorder(kind: type[nn.Module]) -> tuple[nn.Module, list[Tensor]]:
    seen: list[Tensor] = []

    class Recorder(kind):  # type: ignore[misc, valid-type]
        def forward(self, images: Tensor) -> Tensor:
            if len(images) > 2:  # two are the trial of a memory layout
                seen.append(images)
            return super().forward(images)

    return Recorder(), seen


@pytest.mark.parametrize("alpha", ALPHAS)
def test_stored_live_and_direct_are_one(batch: Batch, alpha: float) -> None:
    data, teacher = tiny.dataset(), tiny.Teacher()
    stored = soft_targets(
        teacher, data.train, data, views=[batch.view], dtype=torch.float32, cache=False, progress=False
    )
    z = torch.randn(8, tiny.CLASSES)
    with torch.no_grad():
        expected = hinton_loss(z, teacher.eval()(batch.images), batch.labels, temperature=3.0, alpha=alpha)
    for targets in (stored, teacher, freeze(teacher)):
        found = objective(targets, temperature=3.0, alpha=alpha)(z, batch)
        assert float(value(found)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(("pairwise", "channelwise"), [(0, 0), (10, 0), (0, 3), (10, 3)])
def test_terms_on_masks_add_up(masks: Batch, alpha: float, pairwise: float, channelwise: float) -> None:
    data, teacher, z = colours.dataset(), colours.Pixels().eval(), torch.randn(6, 3, 8, 8)
    with torch.no_grad():
        v = teacher(masks.images)
    expected = float(pixelwise_loss(z, v, masks.labels, temperature=3.0, alpha=alpha))
    expected += pairwise * float(pairwise_loss(z, v, masks.labels, patch=2))
    expected += channelwise * float(channelwise_loss(z, v, masks.labels, temperature=3.0))
    stored = soft_targets(teacher, data.train, data, views=[masks.view], dtype=torch.float32, progress=False)
    for targets in (teacher, stored, freeze(teacher)):
        found = objective(
            targets, method=["pixelwise", "pairwise", "channelwise"], alpha=alpha, temperature=3.0, patch=2,
            weights={"pairwise": pairwise, "channelwise": channelwise},
        )(z, masks)  # fmt: skip
        assert float(value(found)) == pytest.approx(expected, rel=1e-5)
        used = {"pixelwise": alpha, "pairwise": pairwise, "channelwise": channelwise}
        labels = {"labels"} if alpha < 1 else set()
        if any(used.values()):
            assert isinstance(found, dict)
            assert found.keys() - {"loss"} == labels | {name for name, weight in used.items() if weight}


def test_parts_are_unweighted_and_named(batch: Batch) -> None:
    teacher, z = tiny.Teacher(), torch.randn(8, tiny.CLASSES)
    found = objective(teacher, temperature=3.0, alpha=0.3)(z, batch)
    assert isinstance(found, dict) and list(found) == ["loss", "labels", "kd"]
    assert float(found["labels"]) == pytest.approx(float(nn.functional.cross_entropy(z, batch.labels)))
    assert float(found["loss"]) == pytest.approx(0.7 * float(found["labels"]) + 0.3 * float(found["kd"]))

    class Two(Method):
        def forward(self, student: Any, teacher: Any, batch: Batch) -> dict[str, Tensor]:
            return {"near": student.logits.mean(), "far": student.logits.sum()}

    found = objective(teacher, method=[Two(), "kd"], alpha=1.0)(z, batch)
    assert isinstance(found, dict) and list(found) == ["loss", "two.near", "two.far", "kd"]


@pytest.mark.parametrize("kind", [tiny.Teacher, colours.Pixels])
def test_a_live_teacher_is_asked_on_the_students_own_view(
    batch: Batch, masks: Batch, kind: type[nn.Module]
) -> None:
    teacher, seen = recorder(kind)
    shown, method = (batch, "kd") if kind is tiny.Teacher else (masks, "channelwise")
    z = torch.randn(8, tiny.CLASSES) if kind is tiny.Teacher else torch.randn(6, 3, 8, 8)
    objective(teacher, method=method, alpha=0.5)(z, shown)
    assert len(seen) == 1 and torch.equal(seen[0], shown.images)
    objective(teacher, method=method, alpha=0)(z, shown)
    assert len(seen) == 1  # weight 0: not asked
    objective(teacher, method=method, alpha=0, weights={method: 1})(z, shown)
    assert len(seen) == 2


def test_training_a_student_leaves_the_live_teacher_alone(masks: Batch) -> None:
    teacher, student = colours.Pixels(0).train(), colours.Pixels(1).train()
    before = tiny.state(teacher)
    minimised = objective(teacher, method=["pixelwise", "pairwise", "channelwise"], alpha=0.5)
    frozen = minimised._source._frozen  # type: ignore[union-attr]
    held = tiny.state(frozen)
    for _ in range(3):
        for part in (*student.modules(), *minimised.modules(), *frozen.modules()):
            part.train()
        value(minimised(student(masks.images), masks)).backward()
        with torch.no_grad():
            for parameter in student.parameters():
                assert parameter.grad is not None
                parameter -= 0.1 * parameter.grad
    assert tiny.same_state(teacher, before) and teacher.training and tiny.same_state(frozen, held)
    assert all(p.grad is None for net in (teacher, frozen) for p in net.parameters())
    assert not list(minimised.parameters()) and not minimised.state_dict()


def test_a_student_is_never_its_own_moving_teacher(batch: Batch) -> None:
    """Handed the student itself, the objective keeps a copy: the target stays where it was."""
    student = tiny.Teacher().eval()
    minimised = objective(student, temperature=2.0, alpha=1)
    assert float(value(minimised(student(batch.images), batch)).detach()) == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        student.head.weight.add_(torch.randn_like(student.head.weight))
    assert float(value(minimised(student(batch.images), batch)).detach()) > 0.01
    assert float(kd_divergence(student(batch.images), student(batch.images), 2.0).detach()) == 0  # aliased


def test_wrong_view_split_or_labels(batch: Batch) -> None:
    data = tiny.dataset()
    targets = soft_targets(tiny.Teacher(), data.train, data, cache=False, progress=False)
    minimised = objective(targets, temperature=2.0, alpha=0.5)
    z = torch.randn(8, tiny.CLASSES)
    with pytest.raises(ArgumentError, match=r"view 'shift1.*found 'plain'"):
        minimised(z, batch)
    plain = Batch(batch.images, batch.labels, batch.index, View())
    assert torch.isfinite(value(minimised(z, plain)))
    for alpha in (0.5, 1):  # at 1 the labels aren't learned from, and still vouch for the pairing
        with pytest.raises(ArgumentError, match="have another label"):
            objective(targets, temperature=2.0, alpha=alpha)(
                z, Batch(batch.images, batch.labels, batch.index.flip(0), View())
            )
    with pytest.raises(ArgumentError, match=r"\[8, 3\] and \[8, 4\]"):
        objective(targets, temperature=2.0, alpha=1)(torch.randn(8, 3), plain)


def test_wrong_masks_are_told(masks: Batch) -> None:
    data = colours.dataset()
    targets = soft_targets(colours.Pixels(), data.train, data, views=[masks.view], progress=False)
    minimised = objective(targets, method="pixelwise", alpha=1)
    z = torch.randn(6, 3, 8, 8)
    assert bool(value(minimised(z, masks)).isfinite())
    with pytest.raises(ArgumentError, match="have another mask"):
        minimised(z, Batch(masks.images, masks.labels, masks.index.flip(0), masks.view))
    with pytest.raises(ArgumentError, match="No soft targets are stored for the view 'plain'"):
        minimised(z, Batch(masks.images, masks.labels, masks.index, View()))
    with pytest.raises(ArgumentError, match=r"\[6, 2, 8, 8\] and \[6, 3, 8, 8\]"):
        minimised(z[:, :2], masks)


def test_settings_are_checked_and_told() -> None:
    teacher = tiny.Teacher()
    for wrong, found in (
        ({"temperature": 0}, "temperature"),
        ({"alpha": 2}, "alpha"),
        ({"weights": {"kd": -1}}, r"weights\['kd'\] .*-1"),
        ({"weights": {"kd": math.nan}}, r"weights\['kd'\] .*nan"),
        ({"weights": {"kd": math.inf}}, r"weights\['kd'\] .*inf"),
        ({"weights": {"dkd": 1}}, "no method 'dkd' to weigh here; weights go to kd"),
        ({"weights": {"kd": 0}}, "nothing to learn"),
    ):
        with pytest.raises(ArgumentError, match=found):
            objective(teacher, **({"temperature": 1, "alpha": 1} | wrong))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="found Tensor"):
        objective(torch.zeros(3, 4), alpha=1)  # type: ignore[arg-type]
    first, second = (objective(tiny.Teacher(seed), temperature=2, alpha=0.9) for seed in (0, 1))
    assert first.name == f"kd(temperature=2), alpha=0.9, teacher={teacher_digest(tiny.Teacher(0))[:16]}"
    assert first.name != second.name
    data = tiny.dataset()
    stored = soft_targets(tiny.Teacher(0), data.train, data, cache=False, progress=False)
    assert objective(stored, temperature=2, alpha=0.9).name == first.name
    both = objective(
        teacher, method=["pixelwise", "pairwise"], alpha=0.5, temperature=2, weights={"pairwise": 10}
    )
    assert both.name.startswith("pixelwise(temperature=2) + pairwise(patch=4) * 10, alpha=0.5, teacher=")


def test_a_teacher_without_parameters_has_no_device_to_follow() -> None:
    data = tiny.dataset()
    batch = next(Batches(data.train, data, batch_size=4, seed=0).epoch(0))
    teacher = nn.Sequential(nn.AvgPool2d(4), nn.Flatten())
    found = value(objective(teacher, temperature=1.0, alpha=1)(torch.zeros(4, 4), batch))
    assert float(found) == pytest.approx(math.log(4) - float(entropy(teacher(batch.images)).mean()), abs=1e-5)


def test_an_ensemble_and_its_stored_logits_teach_alike(masks: Batch) -> None:
    data, z = colours.dataset(), torch.randn(6, 3, 8, 8)
    for average in ("logits", "probabilities"):
        ensemble = Ensemble([colours.Pixels(0), colours.Pixels(1)], average)  # type: ignore[arg-type]
        stored = soft_targets(ensemble, data.train, data, views=[masks.view], progress=False)
        live, looked_up = (
            objective(targets, method=["pixelwise", "channelwise"], alpha=0.5)
            for targets in (ensemble, stored)
        )
        found = [float(value(each(z, masks))) for each in (live, looked_up)]
        assert found[0] == pytest.approx(found[1], rel=1e-3)
        assert live.name == looked_up.name


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothed_labels(batch: Batch, masks: Batch, smoothing: float) -> None:
    for shown, z in ((batch, torch.randn(8, 4)), (masks, torch.randn(6, 3, 8, 8))):
        logs = -special.log_softmax(z.double().numpy(), axis=1)
        rows = np.moveaxis(logs, 1, -1).reshape(-1, z.shape[1])
        labels = shown.labels.flatten().numpy()
        scored = labels != IGNORE
        hard = rows[scored, labels[scored]]
        expected = ((1 - smoothing) * hard + smoothing * rows[scored].mean(1)).mean()
        assert float(CrossEntropy(smoothing)(z, shown)) == pytest.approx(expected, rel=1e-6)
    assert CrossEntropy().name == "cross_entropy"
    assert "0.1" in CrossEntropy(0.1).name and "0.1" in repr(CrossEntropy(0.1))
    for wrong in (-0.1, 1.0, math.nan):
        with pytest.raises(ArgumentError, match="label_smoothing"):
            CrossEntropy(wrong)


def test_pixels_left_out_reach_neither_labels_nor_terms(masks: Batch) -> None:
    z = torch.randn(6, 3, 8, 8)
    beyond = z.masked_fill((masks.labels == IGNORE)[:, None], torch.nan)
    minimised = objective(colours.Pixels(), method=["pixelwise", "pairwise", "channelwise"], alpha=0.5)
    losses, gradients = [], []
    for logits in (z, beyond):
        logits.requires_grad_()
        losses.append(value(minimised(logits, masks)))
        gradients.append(torch.autograd.grad(losses[-1], logits)[0])
    assert torch.equal(*losses) and torch.equal(*gradients)
    nothing = Batch(masks.images, torch.full_like(masks.labels, IGNORE), masks.index, masks.view)
    loss = value(minimised(z, nothing))
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.item() == 0 and float(gradient.abs().max()) == 0


def test_fit_trains_a_student_to_imitate() -> None:
    """With alpha = 1 and all three terms, the student ends closer to its teacher, and the record says to whom."""
    data, teacher, student = colours.dataset(), colours.Pixels(0), colours.Pixels(1)
    options: dict[str, Any] = {
        "epochs": 12, "batch_size": 4, "learning_rate": 0.1, "seed": 0, "progress": False, "precision": "float32",
    }  # fmt: skip
    fit(teacher, data, **options)
    minimised = objective(teacher, method=["pixelwise", "pairwise", "channelwise"], alpha=1, temperature=2.0)
    images = data.normalise(data.test.images)

    def disagreement() -> float:
        with torch.no_grad():
            answers = [net.eval()(images).argmax(1) for net in (student, teacher)]
        return float((answers[0] != answers[1]).double().mean())

    before = disagreement()
    history = fit(student, data, objective=minimised, augmentation=colours.AUGMENTATION, **options)
    assert disagreement() < before / 3 and before > 0.3
    assert history.settings["objective"] == minimised.name
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss / 2
    assert history.last.parts.keys() == {"pixelwise", "pairwise", "channelwise"}
    assert history.last.train_loss == pytest.approx(sum(history.last.parts.values()))
