"""What holds for every loss on maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdcourse.data import IGNORE
from kdcourse.distillation import (
    border_loss,
    channelwise_loss,
    cross_image_loss,
    pairwise_loss,
    pixelwise_loss,
)
from kdcourse.errors import ArgumentError
from tests.distillation.methods.maps import Loss, everything, maps
from tests.distillation.methods.test_channelwise import channelwise_reference
from tests.distillation.methods.test_pixelwise import pixelwise_reference

LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "pixelwise": lambda z, v, labels: pixelwise_loss(z, v, labels, temperature=3.0, alpha=1),
    "pixelwise_with_labels": lambda z, v, labels: pixelwise_loss(z, v, labels, temperature=3.0, alpha=0.4),
    "pairwise": lambda z, v, labels: pairwise_loss(z, v, labels, patch=2),
    "channelwise": lambda z, v, labels: channelwise_loss(z, v, labels, temperature=3.0),
    "cross_image": lambda z, v, labels: cross_image_loss(z, v, labels, patch=2, temperature=0.5),
    "borders": lambda z, v, labels: border_loss(z, v, labels, temperature=3.0, distance=1),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


@every_loss
def test_gradient_by_finite_differences(name: str) -> None:
    z, v, labels = maps(3, 3, (3, 4))
    assert torch.autograd.gradcheck(lambda z: LOSSES[name](z, v, labels), z.requires_grad_())


@every_loss
def test_scale_depends_on_neither_batch_nor_size_nor_what_is_ignored(name: str) -> None:
    loss = LOSSES[name]
    z, v, labels = maps(size=(6, 8))
    value = float(loss(z, v, labels))
    assert float(loss(z.repeat(3, 1, 1, 1), v.repeat(3, 1, 1, 1), labels.repeat(3, 1, 1))) == pytest.approx(
        value
    )

    def enlarged(part: Tensor) -> Tensor:
        return part.repeat_interleave(2, -1).repeat_interleave(2, -2)

    double = LOSSES | {
        "pairwise": lambda z, v, labels: pairwise_loss(z, v, labels, patch=4),
        "cross_image": lambda z, v, labels: cross_image_loss(z, v, labels, patch=4, temperature=0.5),
        "borders": lambda z, v, labels: border_loss(z, v, labels, temperature=3.0, distance=2),
    }
    assert float(double[name](enlarged(z), enlarged(v), enlarged(labels))) == pytest.approx(value)
    # What is ignored might as well not be there.
    labels = everything(labels)
    outside = labels.index_fill(1, torch.arange(4, 6), IGNORE).index_fill(2, torch.arange(6, 8), IGNORE)
    inside = float(loss(z[..., :4, :6], v[..., :4, :6], labels[:, :4, :6]))
    assert float(loss(z, v, outside)) == pytest.approx(inside)
    assert inside != pytest.approx(float(loss(z, v, labels)))


@every_loss
def test_nothing_gets_through_from_ignored_pixels(name: str) -> None:
    z, v, labels = maps()
    ignored = (labels == IGNORE)[:, None]

    def value_and_gradient(z: Tensor, v: Tensor) -> tuple[float, Tensor]:
        z = z.clone().requires_grad_()
        loss = LOSSES[name](z, v, labels)
        return loss.item(), torch.autograd.grad(loss, z)[0]

    value, gradient = value_and_gradient(z, v)
    for rubbish in (math.nan, math.inf, 1e30):
        found, slope = value_and_gradient(z.masked_fill(ignored, rubbish), v.masked_fill(ignored, rubbish))
        assert found == value and torch.equal(slope, gradient)
    assert float(gradient.abs().masked_fill(~ignored, 0).max()) == 0 < float(gradient.abs().max())


@every_loss
def test_without_a_valid_pixel_loss_and_gradient_are_zero(name: str) -> None:
    z, v, labels = maps()
    z.requires_grad_()
    loss = LOSSES[name](z, v, torch.full_like(labels, IGNORE))
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.item() == 0 and float(gradient.abs().max()) == 0


@every_loss
def test_zero_where_student_is_the_teacher(name: str) -> None:
    z, v, labels = maps()
    if name == "pixelwise_with_labels":
        hard = float(LOSSES[name](v.clone(), v, labels))
        assert hard == pytest.approx(0.6 * float(F.cross_entropy(v, labels, ignore_index=IGNORE)))
    else:
        assert float(LOSSES[name](v.clone(), v, labels)) == 0 < float(LOSSES[name](z, v, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@every_loss
def test_large_gaps_stay_finite(name: str, dtype: torch.dtype) -> None:
    """Logits 1e4 apart, some on the student's side and some on the teacher's."""
    generator = torch.Generator().manual_seed(0)
    levels = torch.tensor([1e4, 0, -1e4], dtype=dtype)
    z, v = (levels[torch.randint(3, (2, 3, 3, 4), generator=generator)] for _ in range(2))
    z.requires_grad_()
    labels = torch.randint(3, (2, 3, 4), generator=generator)
    labels[0, 0] = IGNORE
    loss = LOSSES[name](z, v, labels)
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert bool(loss.isfinite()) and loss.item() > 0 and bool(gradient.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_loss
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    """Only the maps are rounded; the gradient comes back in their precision."""
    z, v, labels = maps()
    z, v = z.to(dtype).requires_grad_(), v.to(dtype)
    loss = LOSSES[name](z, v, labels)
    loss.backward()
    assert loss.dtype == torch.float32 and z.grad is not None and z.grad.dtype == dtype
    assert loss.item() == pytest.approx(
        float(LOSSES[name](z.detach().double(), v.double(), labels)), rel=1e-5
    )


@every_loss
def test_no_gradient_reaches_the_teacher(name: str) -> None:
    z, v, labels = maps()
    z.requires_grad_()
    v.requires_grad_()
    LOSSES[name](z, v, labels).backward()
    assert z.grad is not None and v.grad is None
    with pytest.raises(ArgumentError, match="its own"):
        LOSSES[name](z, z, labels)


@every_loss
def test_memory_layout_does_not_matter(name: str) -> None:
    z, v, labels = maps()
    last = torch.channels_last
    found = LOSSES[name](z.contiguous(memory_format=last), v.contiguous(memory_format=last), labels)
    assert float(found) == pytest.approx(float(LOSSES[name](z, v, labels)), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_holds_for_any_shape_mask_temperature_and_logits(data: st.DataObject) -> None:
    shape = [data.draw(st.integers(1, 3)) for _ in range(4)]
    temperature, alpha = data.draw(st.floats(0.1, 20)), data.draw(st.floats(0, 1))
    dtype = data.draw(st.sampled_from([torch.bfloat16, torch.float32, torch.float64]))
    count = math.prod(shape)
    numbers = st.lists(st.floats(-1e4, 1e4, width=32), min_size=count, max_size=count)
    z, v = (torch.tensor(data.draw(numbers), dtype=dtype).view(shape) for _ in range(2))
    choices = st.sampled_from([*range(shape[1]), IGNORE])
    pixels = shape[0] * shape[2] * shape[3]
    labels = torch.tensor(data.draw(st.lists(choices, min_size=pixels, max_size=pixels)))
    labels = labels.view(shape[0], *shape[2:])
    valid = (labels != IGNORE).numpy()
    z.requires_grad_()
    size = float(torch.stack([z, v]).detach().abs().max())
    rounding = 20 * torch.finfo(torch.promote_types(dtype, torch.float32)).eps
    rounding *= 1 + temperature**2 + (1 + temperature) * size

    for loss, expected in (
        (
            pixelwise_loss(z, v, labels, temperature=temperature, alpha=alpha),
            pixelwise_reference(z, v, labels, temperature, alpha),
        ),
        (
            channelwise_loss(z, v, labels, temperature=temperature),
            channelwise_reference(z, v, valid, temperature),
        ),
    ):
        (gradient,) = torch.autograd.grad(loss, z)
        assert loss.item() == pytest.approx(expected, rel=1e-5, abs=rounding)
        assert bool(gradient.isfinite().all())
        assert float(gradient[(labels == IGNORE)[:, None].expand(shape)].abs().sum()) == 0


def _bad_arguments() -> dict[str, tuple[str, dict[str, object], str]]:
    z, v, labels = maps()
    pixelwise: dict[str, tuple[dict[str, object], str]] = {
        "temperature zero": ({"temperature": 0}, "found 0"),
        "temperature nan": ({"temperature": math.nan}, "found nan"),
        "alpha above one": ({"alpha": 1.5}, r"found 1\.5"),
        "alpha nan": ({"alpha": math.nan}, "found nan"),
        "classes differ": ({"teacher": v[:, :3]}, r"\[4, 5, 6, 5\] and \[4, 3, 6, 5\]"),
        "sizes differ": ({"teacher": v[..., :3]}, r"and \[4, 5, 6, 3\].*interpolate"),
        "batches differ": ({"teacher": v[:3]}, r"and \[3, 5, 6, 5\]"),
        "a classifier's logits": ({"student": z[..., 0, 0], "teacher": v[..., 0, 0]}, r"found \[4, 5\]"),
        "empty batch": ({"student": z[:0], "teacher": v[:0], "labels": labels[:0]}, r"\[0, 5, 6, 5\]"),
        "integers": ({"student": z.long()}, "torch.int64"),
        "integer teacher": ({"teacher": v.long()}, "torch.int64"),
        "other device": ({"teacher": v.to("meta")}, "meta"),
        "label too high": ({"labels": everything(labels) + 4}, r"0\.\.4 .*found labels from"),
        "label negative": ({"labels": labels.masked_fill(labels == 0, -1)}, r"0\.\.4 .*from -1 to"),
        "label type": ({"labels": labels.to(torch.uint8)}, "torch.uint8"),
        "one label a picture": ({"labels": labels[:, 0, 0]}, r"int64 \[4, 6, 5\].*found torch.int64 \[4\]"),
        "labels of another size": ({"labels": labels[:, ::2]}, r"\[4, 3, 5\].*every n-th pixel"),
    }
    channelwise: dict[str, tuple[dict[str, object], str]] = {
        name: pixelwise[name]
        for name in (
            "temperature zero",
            "classes differ",
            "sizes differ",
            "integers",
            "other device",
            "label type",
        )
    }
    pairwise: dict[str, tuple[dict[str, object], str]] = {
        name: pixelwise[name]
        for name in (
            "sizes differ",
            "batches differ",
            "a classifier's logits",
            "integers",
            "labels of another size",
        )
    }
    pairwise |= {
        "no channels": ({"teacher": v[:, :0]}, "nothing to compare"),
        "patch zero": ({"patch": 0}, "found 0"),
        "patch not whole": ({"patch": 2.0}, r"found 2\.0"),
        "patch of the whole picture": ({"patch": 6}, "patch=6 a map of 6x5 is a single node"),
    }
    cross_image = pairwise | {"temperature zero": pixelwise["temperature zero"]}
    borders = channelwise | {
        "distance zero": ({"distance": 0}, "found 0"),
        "distance not whole": ({"distance": 1.5}, r"found 1\.5"),
    }
    groups = {
        "pixelwise": pixelwise,
        "channelwise": channelwise,
        "pairwise": pairwise,
        "cross_image": cross_image,
        "borders": borders,
    }
    return {
        f"{loss}: {name}": (loss, *case) for loss, cases in groups.items() for name, case in cases.items()
    }


@pytest.mark.parametrize("case", _bad_arguments())
def test_bad_arguments(case: str) -> None:
    name, changes, found = _bad_arguments()[case]
    z, v, labels = maps()
    good: dict[str, Any] = {"student": z, "teacher": v, "labels": labels}
    good |= {
        "pixelwise": {"temperature": 2.0, "alpha": 0.5},
        "channelwise": {"temperature": 2.0},
        "pairwise": {"patch": 2},
        "cross_image": {"patch": 2, "temperature": 0.5},
        "borders": {"temperature": 2.0, "distance": 1},
    }[name]
    losses: dict[str, Loss] = {
        "pixelwise": pixelwise_loss,
        "channelwise": channelwise_loss,
        "pairwise": pairwise_loss,
        "cross_image": cross_image_loss,
        "borders": border_loss,
    }
    loss = losses[name]

    def call(student: Tensor, teacher: Tensor, labels: Tensor, **options: Any) -> Tensor:
        return loss(student, teacher, labels, **options)

    with pytest.raises(ArgumentError, match=found):
        call(**(good | changes))
    assert float(call(**good)) > 0
