"""Transfer sets made from the teacher alone: losses against NumPy, images that the teacher recognises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kdcourse.data import Split
from kdcourse.distillation import Ensemble, distil, freeze, generated
from kdcourse.distillation.data_free import _parts, statistics_loss, total_variation
from kdcourse.errors import ArgumentError
from kdcourse.training import fit
from tests.distillation import tiny
from tests.training.toys import FIT, Net, net, plain_net

HOW: dict[str, Any] = {"seed": 4, "batch_size": 12, "steps": 30}


@pytest.fixture(scope="module")
def teacher() -> Net:
    model = net(1, width=6)
    fit(model, tiny.dataset(), **(FIT | {"epochs": 8}))
    model.zero_grad(set_to_none=True)
    return model


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4, 2)])
def test_statistics_agree_with_float64_reference(shape: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(0)
    given = torch.randn(shape, generator=random, dtype=torch.float64).requires_grad_()
    mean, variance = torch.randn(2, 3, generator=random, dtype=torch.float64)
    rows = np.moveaxis(given.detach().numpy(), 1, 0).reshape(3, -1)
    expected = np.linalg.norm(rows.mean(1) - mean.numpy()) + np.linalg.norm(rows.var(1) - variance.numpy())
    assert statistics_loss(given, mean, variance).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda x: statistics_loss(x, mean, variance), given)
    own = torch.from_numpy(rows.mean(1)), torch.from_numpy(rows.var(1))
    statistics_loss(given, *own).backward()
    assert given.grad is not None and bool(given.grad.isfinite().all())


def test_total_variation_agrees_with_float64_reference() -> None:
    images = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    array = images.numpy()
    expected = np.mean(np.diff(array, axis=2) ** 2) + np.mean(np.diff(array, axis=3) ** 2)
    assert float(total_variation(images)) == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(total_variation, images.requires_grad_())
    assert float(total_variation(torch.ones(2, 1, 3, 3))) == 0


def test_generated_images_have_the_teachers_statistics_and_teach_without_the_real_ones(teacher: Net) -> None:
    data, before = tiny.dataset(), tiny.state(teacher)
    data.train.images.zero_()  # not one of them is read

    def surprise(which: nn.Module, images: torch.Tensor) -> float:
        found: list[torch.Tensor] = []
        norm = teacher.second_norm
        hook = norm.register_forward_pre_hook(
            lambda _, x: found.append(
                statistics_loss(x[0], norm.get_buffer("running_mean"), norm.get_buffer("running_var"))
            )
        )
        with torch.no_grad():
            which.eval()(data.normalise(images))
        hook.remove()
        return float(found[0])

    made, noise = (generated(teacher, data, 24, **(HOW | {"steps": steps})) for steps in (30, 0))
    assert tiny.same_state(teacher, before) and not any(p.grad is not None for p in teacher.parameters())
    assert len(teacher.second_norm._forward_pre_hooks) == 0
    assert surprise(teacher, made.train.images) < surprise(teacher, noise.train.images) / 2
    counts = made.train.labels.bincount(minlength=4)
    assert counts.min() >= 4, "classes are drawn evenly, and the teacher finds them"
    assert made.name.endswith("generated") and made.test is data.test
    student = net(5)
    history = distil(student, teacher, made, alpha=1.0, temperature=2.0, cache=False, **(FIT | {"epochs": 6}))
    assert history.last.train_accuracy > 0.7 > 2 * history.epochs[0].train_accuracy


def test_the_same_seed_gives_the_same_images_and_every_kind_of_teacher_will_do(teacher: Net) -> None:
    data, few = tiny.dataset(), HOW | {"steps": 2}
    first = generated(teacher, data, 13, **few).train
    assert isinstance(first, Split) and first.images.shape == (13, 1, 8, 8)
    for other in (teacher, freeze(teacher), Ensemble([teacher])):
        again = generated(other, data, 13, **few).train
        assert torch.equal(again.images, first.images) and torch.equal(again.labels, first.labels)
    assert not torch.equal(generated(teacher, data, 13, **(few | {"seed": 5})).train.images, first.images)
    assert _parts(13, 12) == [7, 6] and _parts(3, 2) == [3]
    assert len(generated(plain_net(), data, 4, statistics=0.0, **few).train) == 4


def test_bad_arguments(teacher: Net) -> None:
    for wrong, found in (
        ({"steps": -1}, "steps must be at least 0"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"statistics": -1.0}, "statistics is a weight"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"seed": -1}, "seed"),
    ):
        with pytest.raises(ArgumentError, match=found):
            generated(teacher, tiny.dataset(), 4, **(HOW | wrong))
    with pytest.raises(ArgumentError, match="count must be at least 2"):
        generated(teacher, tiny.dataset(), 1, **HOW)
    with pytest.raises(ArgumentError, match="no BatchNorm layer"):
        generated(plain_net(), tiny.dataset(), 4, **HOW)
    with pytest.raises(ArgumentError, match="at least two values"):
        statistics_loss(torch.ones(1, 3), torch.ones(3), torch.ones(3))
