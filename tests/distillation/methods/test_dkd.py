"""`dkd_loss` against an independent reference; every known mistake is written out and must be told apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from torch import Tensor

from kdcourse.data import Batches
from kdcourse.distillation import Outputs, dkd_loss, kd_divergence, methods
from kdcourse.errors import ArgumentError
from tests.distillation import tiny
from tests.distillation.methods.test_kd import logits

Loss = Callable[..., Tensor]
CHOICES = [(1.0, 1.0, 1.0), (4.0, 1.0, 8.0), (0.5, 0.0, 2.0), (20.0, 3.0, 0.0)]


def _kl(p: np.ndarray[Any, Any], log_p: np.ndarray[Any, Any], log_q: np.ndarray[Any, Any]) -> float:
    return float(np.where(p > 0, p * (np.where(p > 0, log_p, 0.0) - log_q), 0.0).sum())


def reference(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, target: float, beta: float
) -> float:
    """The definition in float64 SciPy, image by image: two classes, and the list of the others."""
    total = 0.0
    for z, v, label in zip(
        student.detach().double().numpy(), teacher.detach().double().numpy(), labels, strict=True
    ):
        z, v, k = z / temperature, v / temperature, int(label)
        log_q, log_p = special.log_softmax(z), special.log_softmax(v)
        others = np.arange(len(z)) != k
        two_q = np.array([log_q[k], special.logsumexp(log_q[others])])
        two_p = np.array([log_p[k], special.logsumexp(log_p[others])])
        total += target * _kl(np.exp(two_p), two_p, two_q)
        if np.isfinite(v[others]).any():
            log_q, log_p = special.log_softmax(z[others]), special.log_softmax(v[others])
            total += beta * _kl(np.exp(log_p), log_p, log_q)
    return temperature**2 * total / len(labels)


def agrees_with_reference(loss: Loss) -> bool:
    z, v, labels = logits()
    return all(
        math.isclose(
            float(loss(z, v, labels, temperature=t, target_weight=target, beta=beta)),
            reference(z, v, labels, t, target, beta),
            rel_tol=1e-10,
        )
        for t, target, beta in CHOICES
    )


def test_agrees_with_float64_reference() -> None:
    assert agrees_with_reference(dkd_loss)


def _published(
    z: Tensor, v: Tensor, labels: Tensor, *, temperature: float, target_weight: float, beta: float
) -> Tensor:
    """As in the authors' program (mdistiller), without its warm-up: 1000 off the logit of the label's class."""
    mask = F.one_hot(labels, z.shape[1]).to(z.dtype)
    p, q = (F.softmax(part / temperature, 1) for part in (v, z))
    two_q, two_p = (torch.stack([(s * mask).sum(1), (s * (1 - mask)).sum(1)], 1) for s in (q, p))
    tckd = F.kl_div(two_q.log(), two_p, reduction="sum")
    part_p = F.softmax(v / temperature - 1000 * mask, 1)
    part_q = F.log_softmax(z / temperature - 1000 * mask, 1)
    nckd = F.kl_div(part_q, part_p, reduction="sum")
    return (target_weight * tckd + beta * nckd) * temperature**2 / len(z)


def test_agrees_with_the_published_program() -> None:
    assert agrees_with_reference(_published)


BROKEN: dict[str, Loss] = {
    "t2_missing": lambda z, v, y, **s: dkd_loss(z, v, y, **s) / s["temperature"] ** 2,
    "sides_swapped": lambda z, v, y, **s: dkd_loss(v, z, y, **s),
    "weights_swapped": lambda z, v, y, **s: dkd_loss(
        z, v, y, temperature=s["temperature"], target_weight=s["beta"], beta=s["target_weight"]
    ),
    "others_weighed_by_their_probability": lambda z, v, y, **s: kd_divergence(z, v, s["temperature"]),
    "label_left_among_the_others": lambda z, v, y, **s: (
        dkd_loss(z, v, y, **(s | {"beta": 0.0, "target_weight": s["target_weight"] or 1e-12}))
        + s["beta"] * kd_divergence(z, v, s["temperature"])
    ),
    "sum_over_the_batch": lambda z, v, y, **s: dkd_loss(z, v, y, **s) * len(z),
}


@pytest.mark.parametrize("name", BROKEN)
def test_reference_rejects_known_mistakes(name: str) -> None:
    assert not agrees_with_reference(BROKEN[name])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_is_kd_taken_apart(temperature: float) -> None:
    """KD is the mean of TCKD + (1 - p_t) NCKD (their equation 6)."""
    z, v, labels = logits()
    total = 0.0
    for k in range(len(z)):
        rest = 1 - float(F.softmax(v[k] / temperature, 0)[labels[k]])
        one = (z[k : k + 1], v[k : k + 1], labels[k : k + 1])
        total += float(dkd_loss(*one, temperature=temperature, target_weight=1, beta=rest))
    assert total / len(z) == pytest.approx(float(kd_divergence(z, v, temperature)), rel=1e-10)


@pytest.mark.parametrize(("temperature", "target", "beta"), CHOICES)
def test_gradient_by_finite_differences(temperature: float, target: float, beta: float) -> None:
    z, v, labels = logits(3, 4)
    assert torch.autograd.gradcheck(
        lambda z: dkd_loss(z, v, labels, temperature=temperature, target_weight=target, beta=beta),
        z.requires_grad_(),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_large_gaps_and_classes_ruled_out_stay_finite(dtype: torch.dtype) -> None:
    z = torch.tensor([[1e4, 0, -1e4], [0, 0, 0], [-1e4, 1e4, 0], [1, 2, 3]], dtype=dtype, requires_grad=True)
    inf = math.inf
    v = torch.tensor([[-1e4, 0, 1e4], [0, -1e4, 0], [-inf, 0, -inf], [0, -inf, 1]], dtype=dtype)
    labels = torch.tensor(
        [2, 1, 1, 1]
    )  # of the third, all others are ruled out, of the last, the label itself
    loss = dkd_loss(z, v, labels)
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    assert bool(gradient.isfinite().all())
    assert loss.item() == pytest.approx(reference(z, v, labels, 4.0, 1.0, 8.0), rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_holds_for_any_shape_settings_and_logits(data: st.DataObject) -> None:
    batch, classes = data.draw(st.integers(1, 5)), data.draw(st.integers(2, 7))
    temperature, target, beta = (
        data.draw(st.floats(0.1, 20)),
        data.draw(st.floats(0, 5)),
        data.draw(st.floats(0.1, 9)),
    )
    dtype = data.draw(st.sampled_from([torch.bfloat16, torch.float32, torch.float64]))
    numbers = st.lists(st.floats(-1e4, 1e4), min_size=batch * classes, max_size=batch * classes)
    z, v = (torch.tensor(data.draw(numbers), dtype=dtype).view(batch, classes) for _ in range(2))
    labels = torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), min_size=batch, max_size=batch)))
    z.requires_grad_()
    v.requires_grad_()
    loss = dkd_loss(z, v, labels, temperature=temperature, target_weight=target, beta=beta)
    loss.backward()
    assert v.grad is None and z.grad is not None and bool(z.grad.isfinite().all())
    size = float(torch.stack([z, v]).detach().abs().max())
    rounding = (
        20
        * torch.finfo(loss.dtype).eps
        * (1 + target + beta)
        * (1 + temperature**2 + (1 + temperature) * size)
    )
    expected = reference(z, v, labels, temperature, target, beta)
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=rounding)


def test_zero_where_student_is_the_teacher() -> None:
    z, v, labels = logits()
    assert float(dkd_loss(v.clone(), v, labels)) == 0 < float(dkd_loss(z, v, labels))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"temperature": 0}, "found 0"),
        ({"target_weight": -1}, "target_weight .* found -1"),
        ({"beta": math.nan}, "beta .* found nan"),
        ({"beta": 0, "target_weight": 0}, "nothing to learn"),
        ({"labels": torch.full((5,), 7)}, r"0\.\.6"),
        ({"labels": torch.zeros(4, dtype=torch.int64)}, r"int64 \[5\]"),
        ({"teacher_logits": torch.zeros(5, 3)}, r"\[5, 7\] and \[5, 3\]"),
        ({"student_logits": torch.zeros(5, 1), "teacher_logits": torch.zeros(5, 1),
          "labels": torch.zeros(5, dtype=torch.int64)}, "single class"),
    ],
)  # fmt: skip
def test_bad_arguments(change: dict[str, Any], found: str) -> None:
    z, v, labels = logits()
    with pytest.raises(ArgumentError, match=found):
        dkd_loss(**({"student_logits": z, "teacher_logits": v, "labels": labels} | change))


def test_the_method_returns_both_terms() -> None:
    data = tiny.dataset()
    batch = next(Batches(data.train, data, batch_size=8, seed=0).epoch(0))
    z, v = torch.randn(2, 8, 4)
    (method,) = methods.build("dkd", temperature=2.0, beta=3.0)
    terms = method(Outputs(z), Outputs(v), batch)
    assert terms.keys() == {"target", "others"}
    assert float(sum(terms.values())) == pytest.approx(
        float(dkd_loss(z, v, batch.labels, temperature=2.0, beta=3.0)), rel=1e-6
    )
    assert methods.settings_of("dkd") == {"temperature": 4.0, "target_weight": 1.0, "beta": 8.0}
    with pytest.raises(ArgumentError, match="beta"):
        methods.build("dkd", beta=-1.0)
