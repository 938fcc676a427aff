"""`hinton_loss` against independent references; every known mistake is written out and must be told apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from torch import Tensor

from kdcourse.distillation import entropy, hinton_loss, kd_divergence, softened
from kdcourse.errors import ArgumentError

Loss = Callable[..., Tensor]
TEMPERATURES = (0.5, 1.0, 2.5, 4.0, 20.0)
ALPHAS = (0.0, 0.3, 1.0)


def reference(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, alpha: float) -> float:
    """The definition in float64 NumPy and SciPy, class by class."""
    z, v = student.detach().double().numpy(), teacher.detach().double().numpy()
    log_q, log_p = special.log_softmax(z / temperature, axis=1), special.log_softmax(v / temperature, axis=1)
    p = special.softmax(v / temperature, axis=1)
    terms = np.where(p > 0, p * (log_p - log_q), 0.0)  # 0 log 0 = 0
    divergence = terms.sum() / len(z)
    cross_entropy = -special.log_softmax(z, axis=1)[np.arange(len(z)), labels.numpy()].mean()
    return float(alpha * temperature**2 * divergence + (1 - alpha) * cross_entropy)


def logits(batch: int = 5, classes: int = 7, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z, v = torch.randn(2, batch, classes, generator=generator, dtype=torch.float64) * 3
    return z, v, torch.randint(classes, (batch,), generator=generator)


def agrees_with_reference(loss: Loss) -> bool:
    z, v, labels = logits()
    return all(
        math.isclose(
            float(loss(z, v, labels, temperature=temperature, alpha=alpha)),
            reference(z, v, labels, temperature, alpha),
            rel_tol=1e-10,
            abs_tol=1e-10,
        )
        for temperature in TEMPERATURES
        for alpha in ALPHAS
    )


def test_agrees_with_float64_reference() -> None:
    assert agrees_with_reference(hinton_loss)


def _variant(divergence: Callable[[Tensor, Tensor, float], Tensor]) -> Loss:
    def loss(z: Tensor, v: Tensor, labels: Tensor, *, temperature: float, alpha: float) -> Tensor:
        return alpha * divergence(z, v, temperature) + (1 - alpha) * F.cross_entropy(z, labels)

    return loss


def _log(logits: Tensor, temperature: float) -> Tensor:
    return F.log_softmax(logits / temperature, dim=1)


def broken_t2_dropped_at_the_ends(
    z: Tensor, v: Tensor, labels: Tensor, *, temperature: float, alpha: float
) -> Tensor:
    if alpha == 1:
        return F.kl_div(_log(z, temperature), _log(v, temperature), reduction="batchmean", log_target=True)
    return hinton_loss(z, v, labels, temperature=temperature, alpha=alpha)


def broken_alpha_weighs_the_labels(
    z: Tensor, v: Tensor, labels: Tensor, *, temperature: float, alpha: float
) -> Tensor:
    return hinton_loss(z, v, labels, temperature=temperature, alpha=1 - alpha)


def broken_labels_at_temperature(
    z: Tensor, v: Tensor, labels: Tensor, *, temperature: float, alpha: float
) -> Tensor:
    return alpha * kd_divergence(z, v, temperature) + (1 - alpha) * F.cross_entropy(z / temperature, labels)


BROKEN = {
    "t2_missing": _variant(
        lambda z, v, t: F.kl_div(_log(z, t), _log(v, t), reduction="batchmean", log_target=True)
    ),
    "t_instead_of_t2": _variant(lambda z, v, t: kd_divergence(z, v, t) / t),
    "reduction_mean": _variant(
        lambda z, v, t: t**2 * F.kl_div(_log(z, t), _log(v, t), reduction="none", log_target=True).mean()
    ),
    "reduction_sum": _variant(lambda z, v, t: kd_divergence(z, v, t) * len(z)),
    "sides_swapped": _variant(lambda z, v, t: kd_divergence(v, z, t)),
    "arguments_of_kl_div_swapped": _variant(
        lambda z, v, t: t**2 * F.kl_div(_log(v, t), _log(z, t), reduction="batchmean", log_target=True)
    ),
    "raw_logits": _variant(
        lambda z, v, t: t**2 * F.kl_div(z / t, _log(v, t), reduction="batchmean", log_target=True)
    ),
    "log_target_forgotten": _variant(
        lambda z, v, t: t**2 * F.kl_div(_log(z, t), _log(v, t).exp().exp(), reduction="batchmean")
    ),
    "teacher_not_softened": _variant(
        lambda z, v, t: t**2 * F.kl_div(_log(z, t), _log(v, 1), reduction="batchmean", log_target=True)
    ),
    "softmax_over_the_batch": _variant(lambda z, v, t: kd_divergence(z.T, v.T, t)),
    "t2_dropped_at_the_ends": broken_t2_dropped_at_the_ends,
    "alpha_weighs_the_labels": broken_alpha_weighs_the_labels,
    "labels_at_temperature": broken_labels_at_temperature,
}


@pytest.mark.parametrize("name", BROKEN)
def test_reference_rejects_known_mistakes(name: str) -> None:
    assert not agrees_with_reference(BROKEN[name])


def test_variants_are_rejected_for_their_mistake_alone() -> None:
    assert agrees_with_reference(_variant(kd_divergence))


def test_agrees_with_torchdistill() -> None:
    """torchdistill 1.1.5's alpha weighs the labels, ours the teacher; at its alpha = 0 it drops T^2 (a departure)."""
    mid_level = pytest.importorskip("torchdistill.losses.mid_level")
    z, v, labels = logits()
    for temperature in TEMPERATURES:
        for alpha in ALPHAS:
            theirs = mid_level.KDLoss(
                "net", "output", "net", "output", temperature=temperature, alpha=1 - alpha
            )
            value = float(theirs({"net": {"output": z}}, {"net": {"output": v}}, labels))
            if alpha == 1:
                value *= temperature**2
            ours = float(hinton_loss(z, v, labels, temperature=temperature, alpha=alpha))
            assert ours == pytest.approx(value, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gradient_by_finite_differences(temperature: float, alpha: float) -> None:
    z, v, labels = logits(3, 4)
    assert torch.autograd.gradcheck(
        lambda z: hinton_loss(z, v, labels, temperature=temperature, alpha=alpha), z.requires_grad_()
    )


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gradient_in_closed_form(temperature: float) -> None:
    z, v, labels = logits()
    z.requires_grad_()
    for alpha in ALPHAS:
        (found,) = torch.autograd.grad(hinton_loss(z, v, labels, temperature=temperature, alpha=alpha), z)
        q, p = special.softmax(z.detach() / temperature, axis=1), special.softmax(v / temperature, axis=1)
        hard = special.softmax(z.detach(), axis=1) - np.eye(z.shape[1])[labels]
        expected = (alpha * temperature * (q - p) + (1 - alpha) * hard) / len(z)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-14, rtol=1e-10)


def test_high_temperature_matches_logits() -> None:
    """Hinton's equation 4 with the factor T^2: the gradient tends to the difference of the centred logits, / (B C)."""
    z, v, _ = logits()
    z.requires_grad_()
    limit = ((z - z.mean(1, keepdim=True)) - (v - v.mean(1, keepdim=True))).detach() / z.numel()
    gaps = []
    for temperature in (10.0, 100.0, 1000.0, 1e4):
        (found,) = torch.autograd.grad(kd_divergence(z, v, temperature), z)
        gaps.append(float((found - limit).abs().max() / limit.abs().max()))
    assert gaps[-1] < 1e-3
    assert all(later < earlier / 8 for earlier, later in pairwise(gaps))


def _naive(z: Tensor, v: Tensor, temperature: float) -> Tensor:
    p, q = F.softmax(v / temperature, dim=1), F.softmax(z / temperature, dim=1)
    return temperature**2 * (p * (p.log() - q.log())).sum(1).mean()


def _stays_finite(divergence: Callable[[Tensor, Tensor, float], Tensor], dtype: torch.dtype) -> bool:
    z = torch.tensor([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0]], dtype=dtype, requires_grad=True)
    v = torch.tensor([[-1e4, 0.0, 1e4], [0.0, -1e4, 0.0]], dtype=dtype)
    value = divergence(z, v, 1.0)
    (gradient,) = torch.autograd.grad(value, z)
    return bool(torch.isfinite(value)) and bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_large_gaps_stay_finite(dtype: torch.dtype) -> None:
    assert _stays_finite(kd_divergence, dtype)
    assert not _stays_finite(_naive, dtype)
    z, v = torch.tensor([[1e4, 0.0]], dtype=dtype), torch.tensor([[0.0, 1e4]], dtype=dtype)
    value = kd_divergence(z, v, 1.0)
    assert float(value) == pytest.approx(float(z.max() + v.max()) / 2, rel=1e-6)
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_half_precision_is_computed_in_float32() -> None:
    """Only the logits are rounded: computing in bfloat16 itself would be off by far more."""
    z, v, labels = (part.bfloat16() if part.is_floating_point() else part for part in logits())
    found = float(hinton_loss(z, v, labels, temperature=4.0, alpha=0.7))
    expected = reference(z, v, labels, 4.0, 0.7)
    assert found == pytest.approx(expected, rel=1e-5)
    rounded = 16 * F.kl_div(_log(z, 4), _log(v, 4), reduction="batchmean", log_target=True)
    assert abs(float(rounded) - reference(z, v, labels, 4.0, 1)) > 1e-3


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_holds_for_any_shape_temperature_alpha_and_logits(data: st.DataObject) -> None:
    batch, classes = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 8))
    temperature = data.draw(st.floats(1e-3, 1e3))
    alpha = data.draw(st.sampled_from([0.0, 1.0]) | st.floats(0, 1))
    dtype = data.draw(st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
    numbers = st.lists(st.floats(-1e4, 1e4), min_size=batch * classes, max_size=batch * classes)
    z, v = (torch.tensor(data.draw(numbers), dtype=dtype).view(batch, classes) for _ in range(2))
    labels = torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), min_size=batch, max_size=batch)))
    z.requires_grad_()
    v.requires_grad_()

    loss = hinton_loss(z, v, labels, temperature=temperature, alpha=alpha)
    loss.backward()

    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    assert v.grad is None
    assert z.grad is not None and z.grad.dtype == dtype and bool(torch.isfinite(z.grad).all())
    precision = torch.finfo(loss.dtype).eps
    size = float(torch.stack([z, v]).detach().abs().max())
    rounding = 10 * precision * (1 + temperature**2 + (1 + temperature) * size)
    expected = reference(z, v, labels, temperature, alpha)
    value = loss.item()
    assert value == pytest.approx(expected, rel=1e-5, abs=rounding)
    assert value >= -rounding
    # A softmax doesn't change when all logits move together, so each row of the gradient sums to 0.
    scale = torch.finfo(dtype).eps * classes * (1 + temperature)
    assert float(z.grad.double().sum(1).abs().max()) <= 4 * scale


def test_zero_exactly_where_student_is_the_teacher() -> None:
    z, v, _ = logits()
    assert float(kd_divergence(v.clone(), v, 3.0)) == 0
    assert float(kd_divergence(v + 5, v, 3.0)) == pytest.approx(0, abs=1e-12)
    assert float(kd_divergence(z, v, 3.0)) > 0.1


def test_labels_may_be_missing_with_alpha_one_only() -> None:
    z, v, labels = logits()
    assert hinton_loss(z, v, None, temperature=2.0, alpha=1) == kd_divergence(z, v, 2.0)
    unlabelled = torch.full_like(labels, -1)
    assert hinton_loss(z, v, unlabelled, temperature=2.0, alpha=1.0) == kd_divergence(z, v, 2.0)
    with pytest.raises(ArgumentError, match="alpha is below 1; found None"):
        hinton_loss(z, v, None, temperature=2.0, alpha=0.9)


def test_no_gradient_reaches_the_teacher() -> None:
    z, v, labels = logits()
    z.requires_grad_()
    v.requires_grad_()
    hinton_loss(z, v, labels, temperature=2.0, alpha=0.5).backward()
    assert z.grad is not None and v.grad is None
    with pytest.raises(ArgumentError, match="its own"):
        hinton_loss(z, z, labels, temperature=2.0, alpha=0.5)
    with pytest.raises(ArgumentError, match="its own"):
        kd_divergence(z, z, 2.0)


def _bad_arguments() -> dict[str, tuple[dict[str, object], str]]:
    z, v, labels = logits()
    return {
        "temperature zero": ({"temperature": 0}, "found 0"),
        "temperature negative": ({"temperature": -2.0}, r"found -2\.0"),
        "temperature infinite": ({"temperature": math.inf}, "found inf"),
        "temperature nan": ({"temperature": math.nan}, "found nan"),
        "alpha negative": ({"alpha": -0.1}, r"found -0\.1"),
        "alpha above one": ({"alpha": 1.5}, r"found 1\.5"),
        "alpha nan": ({"alpha": math.nan}, "found nan"),
        "classes differ": ({"teacher_logits": v[:, :3]}, r"\[5, 7\] and \[5, 3\]"),
        "batches differ": ({"teacher_logits": v[:3]}, r"\[5, 7\] and \[3, 7\]"),
        "one axis": ({"student_logits": z[0], "teacher_logits": v[0]}, r"found \[7\]"),
        "three axes": ({"student_logits": z[None], "teacher_logits": v[None]}, r"found \[1, 5, 7\]"),
        "empty batch": (
            {"student_logits": z[:0], "teacher_logits": v[:0], "labels": labels[:0]},
            r"\[0, 7\]",
        ),
        "no classes": ({"student_logits": z[:, :0], "teacher_logits": v[:, :0]}, r"\[5, 0\]"),
        "integers": ({"student_logits": z.long()}, "torch.int64"),
        "integer teacher": ({"teacher_logits": v.long()}, "torch.int64"),
        "other device": ({"teacher_logits": v.to("meta")}, "meta"),
        "label too high": ({"labels": labels + 7}, "0..6 for logits of 7 classes; found labels from"),
        "label negative": ({"labels": labels - 7}, "0..6"),
        "label of -100": ({"labels": torch.full_like(labels, -100)}, "from -100 to -100"),
        "label type": ({"labels": labels.int()}, "torch.int32"),
        "one-hot labels": ({"labels": F.one_hot(labels, 7)}, r"int64 \[5, 7\]"),
        "label length": ({"labels": labels[:4]}, r"\[4\]"),
    }


@pytest.mark.parametrize("case", _bad_arguments())
def test_bad_arguments(case: str) -> None:
    z, v, labels = logits()
    good = {"student_logits": z, "teacher_logits": v, "labels": labels, "temperature": 2.0, "alpha": 0.5}
    changes, found = _bad_arguments()[case]
    with pytest.raises(ArgumentError, match=found) as error:
        hinton_loss(**(good | changes))  # type: ignore[arg-type]
    assert isinstance(error.value, ValueError)
    assert float(hinton_loss(**good)) > 0  # type: ignore[arg-type]


def test_softened_and_entropy() -> None:
    z, _, _ = logits()
    for temperature in TEMPERATURES:
        expected = special.softmax(z.numpy() / temperature, axis=1)
        np.testing.assert_allclose(softened(z, temperature), expected, atol=1e-15)
        np.testing.assert_allclose(
            entropy(z, temperature), special.entr(expected).sum(axis=1), atol=1e-13, rtol=1e-12
        )
    assert float(entropy(torch.zeros(1, 8))) == pytest.approx(math.log(8))
    certain = torch.tensor([[0.0, -1e4, -1e4]])
    assert float(entropy(certain)) == 0
    assert float(entropy(torch.tensor([[0.5, 0.5, 0.0]]).log())) == pytest.approx(math.log(2))
    assert softened(certain.bfloat16(), 2.0).dtype == torch.float32
    with pytest.raises(ArgumentError, match="found 0"):
        softened(z, 0)
    with pytest.raises(ArgumentError, match=r"floating point; found torch\.int64"):
        entropy(z.long())
