"""`crd`: the contrast against loops and torchdistill, and a bank of vectors that turns over and is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse.data import Batch, View
from kdcourse.distillation import Method, Outputs, distil, methods
from kdcourse.distillation.methods.crd import CRD, contrast
from kdcourse.errors import ArgumentError
from kdcourse.training import History, fit
from tests.distillation import tiny
from tests.training.toys import FIT, net, without_seconds


def vectors(*shape: int, seed: int = 0) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(drawn, dim=-1)


ANCHORS, POSITIVES, NEGATIVES = vectors(4, 3), vectors(4, 3, seed=1), vectors(6, 3, seed=2)


def reference(anchors: Any, positives: Any, negatives: Any, tau: float, scale: float, counted: Any) -> float:
    total = 0.0
    for anchor, positive, counts in zip(anchors, positives, counted, strict=True):
        noise = counts.sum() * scale

        def h(other: Any, anchor: Any = anchor, noise: float = noise) -> float:
            e = np.exp(anchor @ other / tau)
            return float(e / (e + noise))

        total -= np.log(h(positive)) + sum(
            np.log(1 - h(n)) for n, c in zip(negatives, counts, strict=True) if c
        )
    return total / len(anchors)


def test_contrast_agrees_with_float64_reference() -> None:
    counted = torch.rand(4, 6, generator=torch.Generator().manual_seed(3)) < 0.6
    for which in (None, counted):
        found = contrast(ANCHORS, POSITIVES, NEGATIVES, temperature=0.2, scale=1.7, counted=which)
        of = np.ones((4, 6), bool) if which is None else which.numpy()
        expected = reference(ANCHORS.numpy(), POSITIVES.numpy(), NEGATIVES.numpy(), 0.2, 1.7, of)
        assert float(found) == pytest.approx(expected, rel=1e-10)

    def loss(anchors: Tensor) -> Tensor:
        return contrast(anchors, POSITIVES, NEGATIVES, temperature=0.2, scale=1.7, counted=counted)

    assert torch.autograd.gradcheck(loss, ANCHORS.clone().requires_grad_())
    positives = POSITIVES.clone().requires_grad_()
    assert not contrast(ANCHORS, positives, NEGATIVES, temperature=0.2, scale=1.7).requires_grad
    sharp = contrast(ANCHORS.float(), POSITIVES.float(), NEGATIVES.float(), temperature=1e-4, scale=1.0)
    assert bool(sharp.isfinite())


def test_contrast_agrees_with_torchdistill() -> None:
    mid_level = pytest.importorskip("torchdistill.losses.mid_level")
    theirs = mid_level.CRDLoss("s", "e", "t", 3, 10, 6, 10, temperature=0.2, eps=0.0).double()
    theirs.memory_v2[:4], theirs.memory_v2[4:] = POSITIVES, NEGATIVES
    places = torch.cat([torch.arange(4)[:, None], torch.arange(4, 10).expand(4, 6)], 1)
    scores, _ = theirs.contrast_memory(ANCHORS, vectors(4, 3, seed=5), torch.arange(4), places)
    expected = theirs.compute_contrast_loss(scores)
    products = torch.cat([(ANCHORS * POSITIVES).sum(1, keepdim=True), ANCHORS @ NEGATIVES.T], 1)
    scale = (products / 0.2).exp().mean()
    found = contrast(ANCHORS, POSITIVES, NEGATIVES, temperature=0.2, scale=scale)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def outputs(values: Tensor) -> Outputs:
    return Outputs(torch.zeros(len(values), 3), {"layer": values})


def batch(labels: Tensor) -> Batch:
    return Batch(torch.zeros(len(labels), 1, 2, 2), labels, torch.arange(len(labels)), View())


def prepared(bank: int = 6) -> CRD:
    torch.manual_seed(0)
    (method,) = methods.build("crd", bank=bank, dimensions=4)
    assert isinstance(method, CRD)
    method.prepare(outputs(torch.zeros(2, 5)), outputs(torch.zeros(2, 7)))
    return method


def test_images_of_one_class_are_no_negatives_and_the_bank_turns_over() -> None:
    method = prepared()
    student, teacher, labels = torch.randn(4, 5), torch.randn(4, 7), torch.tensor([0, 1, 2, 0])
    first = method(outputs(student), outputs(teacher), batch(labels))
    assert method.bank_labels.tolist() == [0, 1, 2, 0, -1, -1]
    scales = method.scales.clone()
    assert bool(scales.isfinite().all()) and all(term.requires_grad for term in first.values())
    kept = method.bank_teacher.clone()
    second = method(outputs(student[:3]), outputs(teacher[:3]), batch(labels[:3]))
    assert method.bank_labels.tolist() == [2, 1, 2, 0, 0, 1] and int(method.place) == 1
    assert torch.equal(method.scales, scales), "the scale is that of the first batch"
    z = F.normalize(method.of_student(student[:3]), dim=1)
    v = F.normalize(method.of_teacher(teacher[:3]), dim=1)
    counted = torch.tensor([[0, 1, 1, 0, 1, 1], [1, 0, 1, 1, 1, 1], [1, 1, 0, 1, 1, 1]], dtype=torch.bool)
    expected = contrast(z, v, kept, temperature=0.07, scale=scales[0], counted=counted)
    torch.testing.assert_close(second["student"], 0.8 * expected)
    torch.testing.assert_close(method.bank_teacher[4:], v[:2].detach())
    torch.testing.assert_close(method.bank_student[0], z[2].detach())
    assert not any(kept.requires_grad for kept in method.buffers())


def test_a_batch_larger_than_the_bank_keeps_its_last_images() -> None:
    method = prepared(bank=2)
    labels = torch.tensor([0, 1, 2, 0])
    method(outputs(torch.randn(4, 5)), outputs(torch.randn(4, 7)), batch(labels))
    assert method.bank_labels.tolist() == [2, 0] and int(method.place) == 0


def test_bad_settings() -> None:
    for settings, found in (
        ({"weight": 0.0}, "found 0"), ({"temperature": -1.0}, "found -1"), ({"bank": 0}, "found 128 and 0"),
        ({"dimensions": 0}, "found 0 and 4096"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=found):
            methods.build("crd", **settings)


# --- in the training loop -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    model = net(1, width=6)
    fit(model, tiny.dataset(), **(FIT | {"epochs": 12}))
    return model


def run(student: nn.Module, teacher: nn.Module, **change: Any) -> tuple[History, Method]:
    (method,) = methods.build("crd", bank=32, dimensions=8)
    settings: dict[str, Any] = FIT | {"alpha": 0.5, "method": method, "cache": False} | change
    return distil(student, teacher, tiny.dataset(), **settings), method


def test_it_learns_to_tell_images_apart(teacher: nn.Module) -> None:
    history, method = run(net(), teacher, epochs=6)
    term = history.part("crd.student")
    assert term[-1] < term[0] and all(p.requires_grad for p in method.parameters())


class Stop(Exception):
    """The run is broken off."""


def test_a_broken_run_resumes_bit_for_bit_with_its_bank(teacher: nn.Module, tmp_path: Path) -> None:
    whole, resumed = net(), net(7)
    told, method = run(whole, teacher)

    def stop(epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == (1, 3):
            raise Stop

    settings = {"checkpoint": tmp_path / "run.safetensors", "checkpoint_every": 3}
    with pytest.raises(Stop):
        run(net(), teacher, after_step=stop, **settings)
    again, other = run(resumed, teacher, **settings)
    assert without_seconds(again) == without_seconds(told)
    assert tiny.same_state(resumed, tiny.state(whole)) and tiny.same_state(other, tiny.state(method))
