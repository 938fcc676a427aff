"""Compare `distil_grid` with a loop over `distil`: many students over temperature, alpha and seed.

For MLPs the grid is one stacked model. For CNNs it runs one student per thread. A third way is measured for them: all
students as one network of grouped convolutions. Its time is the reason for that choice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import product
from statistics import fmean

import torch
from torch import Tensor, nn

from benchmarks.harness import Comparison, Measured, Settings
from benchmarks.task import Task, load, small
from kdcourse import models
from kdcourse.data import Batches
from kdcourse.distillation import SoftTargets, distil, distil_grid, soft_targets
from kdcourse.distillation.grid.losses import Axes, Losses
from kdcourse.models.convolutional import PocketCNN, PocketStage
from kdcourse.training import autocast, evaluate_split, make_optimizer, one_cycle, usual_precision

_SHARED = ("epochs", "batch_size", "learning_rate", "weight_decay", "warm_up", "precision")

SETTINGS = {
    "pictures": 55_000, "test_pictures": 10_000, "batch_size": 256, "weight_decay": 5e-4, "warm_up": 0.2,
    "precision": "auto", "learning_rate": 0.1,
}  # fmt: skip
MLP_GRID = SETTINGS | {
    "student": "mlp_25k", "epochs": 5, "temperatures": [1, 2, 4, 8, 16], "alphas": [0.1, 0.3, 0.5, 0.7, 0.9], "seeds": 3
}  # fmt: skip
CNN_GRID = SETTINGS | {
    "student": "pocket_6k",
    "epochs": 1,
    "temperatures": [2, 8],
    "alphas": [0.5, 0.9],
    "seeds": 2,
}
QUICK = {"epochs": 1, "pictures": 2_048, "temperatures": [1, 4], "alphas": [0.5, 0.9], "seeds": 1}

Train = Callable[[Task, SoftTargets, Settings], Sequence[float]]


def in_a_grid(task: Task, targets: SoftTargets, settings: Settings) -> Sequence[float]:
    """Run `distil_grid` and return the validation accuracies of all students."""
    shared = {name: settings[name] for name in _SHARED if name != "learning_rate"}
    result = distil_grid(
        settings["temperatures"], settings["alphas"], range(settings["seeds"]), data=task.data, teacher=targets,
        student=settings["student"], learning_rates=[settings["learning_rate"]], validate=False, progress=False,
        **shared,
    )  # fmt: skip
    return [row["validation_accuracy"] for row in result.table]


def one_after_another(task: Task, targets: SoftTargets, settings: Settings) -> Sequence[float]:
    """Run `distil` for each student, on all threads."""
    shared = {name: settings[name] for name in _SHARED}
    found = []
    for temperature, alpha, seed in _cells(settings):
        torch.manual_seed(seed)
        history = distil(
            models.build(settings["student"]), targets, task.data, temperature=temperature, alpha=alpha, seed=seed,
            validate=False, progress=False, **shared,
        )  # fmt: skip
        found.append(history.last.validation_accuracy or 0.0)
    return found


def as_grouped_convolutions(task: Task, targets: SoftTargets, settings: Settings) -> Sequence[float]:
    """Train all students as the channel groups of one network.

    All see the batches of seed 0, which is the least work possible this way.
    """
    students = []
    for _, _, seed in _cells(settings):
        torch.manual_seed(seed)
        students.append(models.build(settings["student"]))
    grouped = GroupedPocketCNN(students)
    grouped.to(memory_format=torch.channels_last)
    cpu = torch.device("cpu")
    batches = Batches(task.data.train, task.data, batch_size=settings["batch_size"], seed=0)
    precision = settings["precision"] if settings["precision"] != "auto" else usual_precision(cpu)
    stepper = make_optimizer(
        "sgd", grouped, learning_rate=settings["learning_rate"], weight_decay=settings["weight_decay"]
    )
    axes = Axes(
        (settings["learning_rate"],), (0,), tuple(settings["temperatures"]), tuple(settings["alphas"])
    )
    total = settings["epochs"] * batches.steps
    done = 0
    for epoch in range(settings["epochs"]):
        grouped.train()
        losses = [Losses(axes, torch.float32, cpu) for _ in range(settings["seeds"])]
        for batch in batches.epoch(epoch):
            done += 1
            for group in stepper.param_groups:
                group["lr"] = settings["learning_rate"] * one_cycle(done / (total + 1), settings["warm_up"])
            with autocast(cpu, precision):
                logits = grouped(batch.images)
            answers = targets.logits(batch.view, batch.index)[None]
            # Students are ordered by temperature, alpha and seed; Losses needs the seeds in their own dimension.
            parts = logits.detach().unflatten(0, (-1, settings["seeds"])).unbind(1)
            gradients = [loss.add(part, [batch], answers) for loss, part in zip(losses, parts, strict=True)]
            stepper.zero_grad()
            logits.backward(torch.stack(gradients, 1).flatten(0, 1))
            stepper.step()
    grouped.eval()
    return [
        evaluate_split(grouped.member(k), task.data.validation, task.data)[1] for k in range(len(students))
    ]


class GroupedPocketCNN(nn.Module):
    """Compute S `PocketCNN` of one shape as one network: float32 [B, C, H, W] -> logits [S, classes, B]."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.count = len(members)
        nets = [member for member in members if isinstance(member, PocketCNN)]
        self.stages = nn.Sequential()
        for number, parts in enumerate(zip(*(net.stages for net in nets), strict=True)):
            stages = [part for part in parts if isinstance(part, PocketStage)]
            first, width = stages[0], self.count * stages[0].expand_norm.num_features
            stage = PocketStage(
                1, width, len(first.refine)
            )  # its normalisation serves all students; the convolutions are grouped
            stage.expand = _grouped([each.expand for each in stages], 1 if number == 0 else self.count)
            stage.refine = nn.ModuleList(
                _grouped(convs, self.count) for convs in zip(*(each.refine for each in stages), strict=True)
            )
            self.stages.append(stage)
        self.weight = nn.Parameter(torch.stack([net.head.weight.detach() for net in nets]))
        self.bias = nn.Parameter(torch.stack([net.head.bias.detach()[:, None] for net in nets]))

    def forward(self, x: Tensor) -> Tensor:
        features = (
            self.stages(x).amax((2, 3)).unflatten(1, (self.count, -1)).permute(1, 2, 0)
        )  # [S, channels, B]
        return torch.bmm(self.weight, features) + self.bias

    def member(self, position: int) -> nn.Module:
        """Return one student as a network: images -> logits [B, classes]."""
        return _Member(self, position)


class _Member(nn.Module):
    def __init__(self, every: GroupedPocketCNN, position: int) -> None:
        super().__init__()
        self.every, self.position = every, position

    def forward(self, x: Tensor) -> Tensor:
        return self.every(x)[self.position].T


def _grouped(convs: Sequence[nn.Module], groups: int) -> nn.Conv2d:
    """Join convolutions of one shape into one; with ``groups`` 1 they read the same channels."""
    kernels = [conv.weight.detach() for conv in convs if isinstance(conv, nn.Conv2d)]
    outputs, inputs = len(kernels) * kernels[0].shape[0], kernels[0].shape[1] * groups
    side_by_side = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False, groups=groups)
    side_by_side.weight = nn.Parameter(torch.cat(kernels))
    return side_by_side


def _cells(settings: Settings) -> list[tuple[float, float, int]]:
    return list(product(settings["temperatures"], settings["alphas"], range(settings["seeds"])))


def _timed(train: Train, settings: Settings) -> Measured:
    """Measure the seconds of all students together, without the teacher's pass and a warm-up."""
    task = load(settings)
    warm, warm_settings = small(task, settings)
    train(
        warm,
        soft_targets(warm.teacher, warm.data.train, warm.data, cache=False, progress=False),
        warm_settings,
    )
    targets = soft_targets(task.teacher, task.data.train, task.data, progress=False)
    began = time.perf_counter()
    found = train(task, targets, settings)
    seconds = time.perf_counter() - began
    return Measured(
        seconds, fmean(found), {"students": len(found), "seconds_a_student": seconds / len(found)}
    )


def grid_side(settings: Settings) -> Measured:
    """Run all students with `distil_grid`."""
    return _timed(in_a_grid, settings)


def one_by_one_side(settings: Settings) -> Measured:
    """Run a loop over `distil`."""
    return _timed(one_after_another, settings)


def grouped_side(settings: Settings) -> Measured:
    """Run one network of grouped convolutions."""
    return _timed(as_grouped_convolutions, settings)


BENCHMARKS = (
    Comparison(
        name="mlp_grid",
        question="How long do 75 MLP students take as one stack, and one after another?",
        sides={"distil_grid, one stack": grid_side, "distil, one after another": one_by_one_side},
        settings=MLP_GRID,
        quick=QUICK,
    ),
    Comparison(
        name="cnn_grid",
        question="How long do eight CNN students take a thread each, one after another, and as one network?",
        sides={
            "distil_grid, a thread each": grid_side,
            "distil, one after another": one_by_one_side,
            "one network of grouped convolutions": grouped_side,
        },
        settings=CNN_GRID,
        quick=QUICK,
    ),
)
