"""The top k logits and the weight of the others: stored small, looked up as full ones are, learned from by kd."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from kdcourse.data import Dataset, Split, View
from kdcourse.distillation import (
    SoftTargets,
    distil,
    distil_grid,
    kd_divergence,
    soft_targets,
    top_k_divergence,
)
from kdcourse.errors import ArgumentError, CheckpointError
from tests.distillation import tiny
from tests.training.test_segmentation import dataset as masked
from tests.training.toys import FIT, plain_net

CLASSES = 12


class Wide(nn.Module):
    """A teacher of more classes than the tiny task has."""

    def __init__(self, classes: int = CLASSES, scale: float = 1.0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Linear(64, classes)
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * self.head(images.flatten(1))


def dataset(classes: int = CLASSES, images: int = 40) -> Dataset:
    names = tuple(f"class {number}" for number in range(classes))
    return Dataset("many", names, tiny.split(images), tiny.split(10, 1), tiny.split(10, 2))


def both(k: int, **options: Any) -> tuple[SoftTargets, SoftTargets]:
    """Return the top k of a teacher's logits and all of them."""
    data = dataset()
    how = {"dtype": torch.float32, "cache": False, "progress": False} | options
    return (
        soft_targets(Wide(), data.train, data, top_k=k, **how),
        soft_targets(Wide(), data.train, data, **how),
    )


@pytest.mark.parametrize("k", [1, 3, CLASSES - 1])
def test_what_is_stored(k: int) -> None:
    top, full = both(k, temperatures=(1.0, 2.5))
    index = torch.tensor([7, 0, 33, 7])
    found, logits = top.top(View(), index), full.logits(View(), index)
    order = logits.argsort(descending=True)
    assert torch.equal(found.classes, order[:, :k])
    assert torch.equal(found.values, logits.gather(1, order[:, :k]))
    others = logits.gather(1, order[:, k:]).double().numpy()
    for temperature in (1.0, 2.5):
        wanted = logsumexp(others / temperature, axis=1)
        assert found.rest_at(temperature).tolist() == pytest.approx(wanted.tolist(), rel=1e-6, abs=1e-6)
    assert (top.top_k, top.classes, full.top_k) == (k, CLASSES, None)
    assert top.nbytes == 40 * (k * (4 + 2) + 2 * 4)
    assert f"top {k} of {CLASSES} classes" in repr(top)


def reference(z: Tensor, v: Tensor, k: int, temperature: float) -> float:
    """Return the divergence over k + 1 events, float64 NumPy."""
    sides = [log_softmax(side.double().numpy() / temperature, axis=1) for side in (v, z)]
    order = np.argsort(-v.numpy(), axis=1, kind="stable")
    (p, p_rest), (q, q_rest) = (
        (
            np.take_along_axis(side, order[:, :k], 1),
            logsumexp(np.take_along_axis(side, order[:, k:], 1), axis=1),
        )
        for side in sides
    )
    kl = (np.exp(p) * (p - q)).sum(1) + np.exp(p_rest) * (p_rest - q_rest)
    return float(temperature**2 * kl.mean())


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_divergence_takes_the_others_as_one(temperature: float) -> None:
    torch.manual_seed(0)
    index, before = torch.arange(40), 0.0
    z = torch.randn(40, CLASSES)
    for k in (1, 2, 5, CLASSES - 1):
        top, full = both(k)
        v = full.logits(View(), index)
        found = float(top_k_divergence(z, top.top(View(), index), temperature))
        assert found == pytest.approx(reference(z, v, k, temperature), rel=1e-4)
        assert before < found  # the finer the events, the larger
        before = found
    assert found == pytest.approx(float(kd_divergence(z, v, temperature)), rel=1e-4)


def test_its_gradient_is_that_of_the_whole_and_none_divides_the_rest() -> None:
    top, full = both(3)
    index = torch.arange(8)
    at = full.logits(View(), index).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(top_k_divergence(at, top.top(View(), index), 2.0), at)
    assert float(gradient.abs().max()) < 1e-6  # a student equal to the teacher
    other = torch.zeros(8, CLASSES, dtype=torch.float64, requires_grad=True)
    loss = top_k_divergence(other, top.top(View(), index), 2.0)
    assert loss.dtype == torch.float64
    assert torch.autograd.gradcheck(lambda z: top_k_divergence(z, top.top(View(), index), 2.0), other)
    (gradient,) = torch.autograd.grad(loss, other)
    rest = gradient.scatter(1, top.top(View(), index).classes, math.nan)
    spread = rest.nan_to_num(-1).amax(1) - rest.nan_to_num(1).amin(1)
    assert float(spread.abs().max()) < 1e-9  # equal logits stay equal


def test_logits_far_apart_and_classes_ruled_out() -> None:
    class Sure(Wide):
        def forward(self, images: Tensor) -> Tensor:
            logits = 1e4 * torch.eye(CLASSES)[images.flatten(1).argmax(1) % CLASSES]
            return logits.masked_fill(torch.arange(CLASSES) >= 3, -torch.inf)

    data = dataset()
    targets = soft_targets(Sure(), data.train, data, top_k=4, cache=False, progress=False)
    top = targets.top(View(), torch.arange(40))
    assert bool((top.rest == -torch.inf).all()) and bool((top.values == -torch.inf).any())
    z = torch.zeros(40, CLASSES, requires_grad=True)
    loss = top_k_divergence(z, top, 1.0)
    (gradient,) = torch.autograd.grad(loss, z)
    assert math.isfinite(float(loss.detach())) and bool(gradient.isfinite().all())


def test_views_and_positions_are_looked_up_as_full_ones(tmp_path: Path) -> None:
    views = [View(), View(tiny.AUGMENTATION, 5, 0), View(tiny.AUGMENTATION, 5, 1)]
    top, full = both(4, views=views, cache=tmp_path)
    for view in views:
        index = torch.randperm(40)
        found, logits = top.top(view, index), full.logits(view, index)
        assert torch.equal(found.values, logits.gather(1, found.classes))
        assert torch.equal(found.values, logits.topk(4).values)
    with pytest.raises(ArgumentError, match=r"index must lie in 0\.\.39"):
        top.top(View(), torch.tensor([40]))
    with pytest.raises(ArgumentError, match="No soft targets are stored for the view"):
        top.top(View(tiny.AUGMENTATION, 6, 0), torch.tensor([0]))


def test_files_are_small_read_back_and_told_apart(tmp_path: Path) -> None:
    data, asked = dataset(), []
    teacher = Wide()
    teacher.head.register_forward_hook(lambda _, __, out: asked.append(len(out)))

    def made(**options: Any) -> SoftTargets:
        asked.clear()
        return soft_targets(teacher, data.train, data, cache=tmp_path, progress=False, **options)

    first = made(top_k=2)
    (file,) = tmp_path.glob("*.npy")
    assert file.stat().st_size == 128 + 40 * (2 * (2 + 2) + 4 * 4) + 32  # header, rows, checksum
    again = made(top_k=2)
    assert sum(asked) == 16  # a few images that make sure that the teacher still answers so
    index = torch.arange(40)
    for name in ("values", "classes", "rest"):
        assert torch.equal(getattr(first.top(View(), index), name), getattr(again.top(View(), index), name))
    for number, options in enumerate(({}, {"top_k": 3}, {"top_k": 2, "temperatures": (3.0,)}), start=2):
        made(**options)
        assert sum(asked) >= 40 and len(list(tmp_path.glob("*.npy"))) == number
    teacher.scale = 1.0  # the same setting; now the code answers otherwise
    teacher.head.register_forward_hook(lambda _, __, out: out + torch.arange(CLASSES))
    with pytest.warns(UserWarning, match="no longer gives the logits stored for the same weights"):
        changed = made(top_k=2)
    assert not torch.equal(changed.top(View(), index).classes, first.top(View(), index).classes)
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.warns(UserWarning, match="can't be used"):
        made(top_k=2)


def test_logits_too_large_for_float16_are_kept_in_float32(tmp_path: Path) -> None:
    data, teacher = dataset(), Wide(scale=1e6)
    for _ in range(2):  # computed, and read back
        if list(tmp_path.glob("*.npy")):
            targets = soft_targets(teacher, data.train, data, top_k=2, cache=tmp_path, progress=False)
        else:
            with pytest.warns(UserWarning, match="beyond float16's 65504"):
                targets = soft_targets(teacher, data.train, data, top_k=2, cache=tmp_path, progress=False)
        assert targets.nbytes == 40 * (2 * (4 + 2) + 4 * 4)
        assert float(targets.top(View(), torch.arange(40)).values.max()) > 65504


class LargestAtOnce(TorchDispatchMode):
    """Counts the bytes of the tensors made inside that are alive at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[tuple[StorageWeakRef, int]] = []
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.alive = [(storage, size) for storage, size in self.alive if not storage.expired()]
        known = {storage for storage, _ in self.alive}
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor) and func._schema.returns[0].alias_info is None:
                storage = StorageWeakRef(tensor.untyped_storage())
                if storage not in known:
                    self.alive.append((storage, tensor.untyped_storage().nbytes()))
        self.most = max(self.most, sum(size for _, size in self.alive))
        return out


def test_making_them_takes_little_more_memory_than_they_do(tmp_path: Path) -> None:
    count = 10_000
    many = torch.randint(256, (count, 1, 8, 8), dtype=torch.uint8)
    names = tuple(map(str, range(200)))
    split = Split(many, torch.arange(count) % 200)
    data, teacher = Dataset("many", names, split, split.subset(torch.arange(9)), split), Wide(200)
    _ = split.digest
    tracemalloc.start()
    try:
        with LargestAtOnce() as counted:
            targets = soft_targets(
                teacher, split, data, top_k=100, batch_size=100, cache=tmp_path, progress=False
            )
        _, python = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert targets.nbytes == count * (100 * 4 + 16)
    assert targets.nbytes <= counted.most  # the count sees the table
    assert counted.most + python < 2 * targets.nbytes
    assert sum(file.stat().st_size for file in tmp_path.glob("*.npy")) < targets.nbytes + 1000


HOW: dict[str, Any] = FIT | {"alpha": 0.5, "temperature": 2.0}


def test_a_student_learns_from_them(tmp_path: Path) -> None:
    data, teacher = tiny.dataset(), tiny.quarter_reader()
    almost_all, two = (
        soft_targets(teacher, data.train, data, top_k=k, dtype=torch.float32, cache=False, progress=False)
        for k in (3, 2)
    )
    full = distil(plain_net(), teacher, data, cache=False, **(HOW | {"epochs": 1}))
    told = distil(plain_net(), almost_all, data, **(HOW | {"epochs": 1}))
    assert told.last.parts["kd"] == pytest.approx(full.last.parts["kd"], rel=1e-3)
    assert told.settings["objective"] == full.settings["objective"] + ", top_k=3"
    told = distil(plain_net(), two, data, checkpoint=tmp_path / "run", **(HOW | {"epochs": 8}))
    assert told.last.validation_accuracy == 1.0
    with pytest.raises(CheckpointError, match="top_k=2"):
        distil(plain_net(), teacher, data, checkpoint=tmp_path / "run", cache=False, **(HOW | {"epochs": 8}))
    grid = distil_grid(
        [2.0], [0.5], [3], data=data, teacher=two, epochs=1, batch_size=16, progress=False, device="cpu"
    )
    assert grid.how.startswith("one by one") and grid.rows[0].history.last.parts["kd"] > 0


def test_what_cannot_be_done_with_them() -> None:
    data = tiny.dataset()
    targets = soft_targets(
        tiny.quarter_reader(), data.train, data, top_k=2, temperatures=(1, 4), cache=False, progress=False
    )
    with pytest.raises(ArgumentError, match=r"dkd needs all\. Compute them without top_k, or take kd"):
        distil(plain_net(), targets, data, method=["kd", "dkd"], **HOW)
    with pytest.raises(ArgumentError, match="an objective of your own needs all"):
        distil(plain_net(), targets, data, objective=lambda z, batch: z.sum(), **FIT)
    with pytest.raises(ArgumentError, match=r"at temperature 1, 4; found temperature=2.*temperatures=\(2,\)"):
        distil(plain_net(), targets, data, **HOW)
    with pytest.raises(ArgumentError, match="Only the top 2 of 4 logits are stored"):
        targets.logits(View(), torch.tensor([0]))
    full = soft_targets(tiny.quarter_reader(), data.train, data, cache=False, progress=False)
    with pytest.raises(ArgumentError, match="All logits are stored"):
        full.top(View(), torch.tensor([0]))
    top = targets.top(View(), torch.tensor([0, 1]))
    with pytest.raises(ArgumentError, match=r"must be \[2, classes\], one row per image; found \[3, 4\]"):
        top_k_divergence(torch.zeros(3, 4), top, 1.0)
    with pytest.raises(ArgumentError, match="have 2 classes, and 2 of the teacher's"):
        top_k_divergence(torch.zeros(2, 2), top, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "from 1 to 11, fewer than the 12 classes; found 0"),
        ({"top_k": CLASSES}, "from 1 to 11, fewer than the 12 classes; found 12"),
        ({"top_k": 2.5}, "found 2.5"),
        ({"top_k": 2, "temperatures": ()}, "at least one, each once"),
        ({"top_k": 2, "temperatures": (1, 1.0)}, "at least one, each once"),
        ({"top_k": 2, "temperatures": (0,)}, "temperature must be a finite number above 0"),
    ],
)
def test_arguments(options: dict[str, Any], message: str) -> None:
    data = dataset()
    with pytest.raises(ArgumentError, match=message):
        soft_targets(Wide(), data.train, data, cache=False, progress=False, **options)


def test_only_for_one_label_per_image_and_its_classes() -> None:
    data = masked()
    with pytest.raises(ArgumentError, match="'squares' has one class per pixel"):
        soft_targets(nn.Conv2d(3, 3, 1), data.train, data, top_k=2, cache=False, progress=False)
    many = dataset()
    with pytest.raises(ArgumentError, match="returned 9 logits per image, and 'many' has 12 classes"):
        soft_targets(Wide(9), many.train, many, top_k=2, cache=False, progress=False)
