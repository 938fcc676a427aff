"""Compare an ensemble's forward pass with its members' one after another, and with other ways of batching them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.harness import Comparison, Measured, Settings

if TYPE_CHECKING:
    from torch import Tensor, nn

    Ask = Callable[[Tensor], Tensor]


def ours(members: list[nn.Module]) -> Ask:
    """Run `kdcourse.distillation.Ensemble`."""
    from kdcourse.distillation import Ensemble

    return Ensemble(members)


def one_by_one(members: list[nn.Module]) -> Ask:
    """Run the members in turn and average their logits."""
    import torch

    return lambda images: torch.stack([member(images) for member in members]).mean(0)


def channels_last(members: list[nn.Module]) -> Ask:
    """Run the members in turn, with kernels in channels-last layout."""
    import torch

    for member in members:
        member.to(memory_format=torch.channels_last)
    return one_by_one(members)


def vmapped(members: list[nn.Module]) -> Ask:
    """Run ``torch.func.vmap`` over the stacked weights of members with equal shapes."""
    import copy

    import torch
    from torch.func import functional_call, stack_module_state

    groups: dict[object, list[nn.Module]] = {}
    for member in members:
        groups.setdefault(tuple(p.shape for p in member.parameters()), []).append(member)

    def together(group: list[nn.Module]) -> Ask:
        parameters, buffers = stack_module_state(group)
        base = copy.deepcopy(group[0]).to("meta")

        def alone(weights: dict[str, Tensor], statistics: dict[str, Tensor], images: Tensor) -> Any:
            return functional_call(base, (weights, statistics), (images,))

        every = torch.vmap(alone, in_dims=(0, 0, None))
        return lambda images: every(parameters, buffers, images)

    asked = [together(group) for group in groups.values()]
    return lambda images: torch.cat([ask(images) for ask in asked]).mean(0)


def two_threads(members: list[nn.Module]) -> Ask:
    """Run one member per core at a time, each on its own thread."""
    from concurrent.futures import ThreadPoolExecutor

    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1))

    def asked(member: nn.Module, images: Tensor) -> Tensor:
        with torch.no_grad():  # threads don't inherit it
            return member(images)

    return lambda images: torch.stack(list(pool.map(lambda member: asked(member, images), members))).mean(0)


def answer(way: Callable[[list[nn.Module]], Ask], settings: Settings) -> Measured:
    """Measure the median seconds per batch, and the largest difference of the logits from the members' mean."""
    import torch

    from kdcourse import models
    from kdcourse.data import fashion_mnist
    from kdcourse.runs.teachers import load_teachers, shipped_folder

    data = fashion_mnist()
    images = data.normalise(data.test.images[: settings["batch"]])
    torch.manual_seed(settings["seed"])
    if settings["members"] == "teachers":
        members = [member for _, member, _ in load_teachers(shipped_folder(), data)]
    else:
        members = [models.build(settings["members"]).eval() for _ in range(5)]
    with torch.no_grad():
        expected = one_by_one(members)(images)
        ask = way(members)
        found = ask(images)
        difference = float((found - expected).abs().max())
        if difference > 1e-3:
            raise AssertionError(f"its logits differ from the members' mean by {difference}")
        times: list[float] = []
        until = time.perf_counter() + settings["seconds"]
        while len(times) < 5 or time.perf_counter() < until:
            began = time.perf_counter()
            ask(images)
            times.append(time.perf_counter() - began)
    return Measured(statistics.median(times), details={"largest_difference_of_logits": difference})


SIDES = {
    "kdcourse's Ensemble": ours,
    "members one after another": one_by_one,
    "one by one, channels last": channels_last,
    "torch.func.vmap": vmapped,
    "a thread a member": two_threads,
}

BENCHMARKS = tuple(
    Comparison(
        name=f"ensemble_forward_{kind}_batch_{batch}",
        question=f"How long do five {told} take to answer {batch} picture{'' if batch == 1 else 's'}?",
        sides={name: partial(answer, way) for name, way in SIDES.items()},
        settings={"members": members, "batch": batch, "seconds": 3.0},
        quick={"seconds": 0.2},
        same_accuracy=False,
    )
    for kind, members, told in (
        ("cnn", "teachers", "residual teachers"),
        ("mlp", "mlp_25k", "MLPs of 25 k weights"),
    )
    for batch in (1, 256)
)
