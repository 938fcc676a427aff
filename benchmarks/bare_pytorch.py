"""Compare `distil` with the least work possible: a loop in plain PyTorch on images and soft targets in memory.

Both sides train the same student on the same stored soft targets, in float32, and evaluate on the validation split
after every epoch. ``python -m benchmarks.bare_pytorch [STUDENT]`` prints where the difference is spent.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness import Comparison, Measured, Settings
from benchmarks.task import QUICK, SETTINGS, Task, accuracy, load, our_options, small
from kdcourse.data import View
from kdcourse.distillation import SoftTargets, distil, soft_targets

OURS, BARE = "kdcourse", "bare PyTorch loop"


def targets_of(task: Task) -> SoftTargets:
    """Return the teacher's logits. They aren't timed, so they may come from the user's cache."""
    return soft_targets(task.teacher, task.data.train, task.data, progress=False)


def bare(task: Task, targets: SoftTargets, settings: Settings) -> None:
    """Train ``task.student`` with only the steps that the method needs."""
    data, student = task.data, task.student
    every = targets.logits(View(), torch.arange(len(data.train)))
    weights = [p for p in student.parameters() if p.ndim > 1]
    vectors = [p for p in student.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": weights, "weight_decay": settings["weight_decay"]}, {"params": vectors}],
        lr=settings["learning_rate"],
        momentum=0.9,
        nesterov=True,
    )
    mean, std = (torch.tensor(numbers).view(1, -1, 1, 1) for numbers in (data.mean, data.std))
    student.to(memory_format=torch.channels_last)
    images, labels, batch_size = data.train.images, data.train.labels, settings["batch_size"]
    steps, warm_up = len(labels) // batch_size, settings["warm_up"]
    total, done = settings["epochs"] * steps, 0
    for _ in range(settings["epochs"]):
        student.train()
        running_loss, correct = 0.0, 0
        order = torch.randperm(len(labels))
        for step in range(steps):
            index = order[step * batch_size : (step + 1) * batch_size]
            done += 1
            at = done / (total + 1)
            for group in optimizer.param_groups:
                group["lr"] = settings["learning_rate"] * min(at / warm_up, (1 - at) / (1 - warm_up))
            pictures = images[index].float().contiguous(memory_format=torch.channels_last)
            logits = student((pictures / 255 - mean) / std)
            loss = loss_of(logits, every[index], labels[index], settings)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            correct += int((logits.argmax(1) == labels[index]).sum())
        student.eval()
        with torch.no_grad():
            for pictures, answers in zip(
                data.validation.images.split(1000), data.validation.labels.split(1000), strict=True
            ):
                pictures = pictures.float().contiguous(memory_format=torch.channels_last)
                logits = student((pictures / 255 - mean) / std)
                running_loss += F.cross_entropy(logits, answers, reduction="sum").item()
                correct += int((logits.argmax(1) == answers).sum())


def loss_of(logits: Tensor, teacher_logits: Tensor, labels: Tensor, settings: Settings) -> Tensor:
    """Compute the loss of Hinton, Vinyals, Dean 2015, written by hand."""
    temperature, alpha = settings["temperature"], settings["alpha"]
    soft = F.kl_div(
        F.log_softmax(logits / temperature, dim=1),
        F.log_softmax(teacher_logits / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return alpha * temperature**2 * soft + (1 - alpha) * F.cross_entropy(logits, labels)


def ours(task: Task, targets: SoftTargets, settings: Settings) -> None:
    """Train ``task.student`` with `distil`."""
    distil(task.student, targets, task.data, **our_options(settings), progress=False)


def timed(train: Callable[[Task, SoftTargets, Settings], None], settings: Settings) -> Measured:
    """Return the seconds of one side, without loading, the teacher and a warm-up on two batches."""
    task = load(settings)
    warm, warm_settings = small(task, settings)
    train(warm, targets_of(warm), warm_settings)
    targets = targets_of(task)
    began = time.perf_counter()
    train(task, targets, settings)
    seconds = time.perf_counter() - began
    steps = settings["epochs"] * (len(task.data.train) // settings["batch_size"])
    return Measured(seconds, accuracy(task), {"microseconds_a_step": 1e6 * seconds / steps})


def kdcourse_side(settings: Settings) -> Measured:
    """Run `distil` on stored soft targets."""
    return timed(ours, settings)


def bare_side(settings: Settings) -> Measured:
    """Run the loop above."""
    return timed(bare, settings)


def _comparison(name: str, student: str, epochs: int) -> Comparison:
    return Comparison(
        name=name,
        question=f"What does kdcourse add to a plain PyTorch loop that trains {student} on the same tensors?",
        sides={OURS: kdcourse_side, BARE: bare_side},
        settings=SETTINGS | {"student": student, "precision": "float32", "epochs": epochs},
        quick=QUICK,
        floor=True,
    )


BENCHMARKS = (
    _comparison("bare_pytorch_mlp", "mlp_25k", 10),
    _comparison("bare_pytorch_cnn", "pocket_17k", 3),
)


def profile(student: str, epochs: int = 2) -> str:
    """Profile a step of either side: PyTorch's operators first, then Python's functions."""
    import cProfile
    import pstats

    settings = SETTINGS | {"student": student, "precision": "float32", "epochs": epochs, "seed": 0}
    task = load(settings)
    targets = targets_of(task)
    steps = epochs * (len(task.data.train) // settings["batch_size"])
    operators: dict[str, dict[str, float]] = {}
    functions: dict[str, list[tuple[float, float, str]]] = {}
    for name, train in ((OURS, ours), (BARE, bare)):
        warm, warm_settings = small(task, settings)
        train(warm, targets_of(warm), warm_settings)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recorded:
            train(_again(task, settings), targets, settings | {"epochs": 1})
        averages = recorded.key_averages()
        operators[name] = {each.key: each.self_cpu_time_total * epochs / steps for each in averages}
        clock = cProfile.Profile()
        clock.runcall(train, _again(task, settings), targets, settings)
        rows: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = pstats.Stats(clock).stats  # type: ignore[attr-defined]
        functions[name] = sorted(
            (
                (1e6 * own / steps, calls / steps, f"{'/'.join(file.split('/')[-2:])}:{line} {function}")
                for (file, line, function), (_, calls, own, _, _) in rows.items()
            ),
            reverse=True,
        )
    lines = [
        f"{student}: microseconds a step, by operator (self time)",
        f"{OURS:>12}{BARE:>20}{'difference':>12}",
    ]
    keys = sorted(
        {key for each in operators.values() for key in each},
        key=lambda key: -abs(operators[OURS].get(key, 0) - operators[BARE].get(key, 0)),
    )
    for key in keys[:25]:
        mine, floor = operators[OURS].get(key, 0.0), operators[BARE].get(key, 0.0)
        lines.append(f"{mine:12.1f}{floor:20.1f}{mine - floor:+12.1f}  {key}")
    mine, floor = (sum(each.values()) for each in operators.values())
    lines.append(f"{mine:12.1f}{floor:20.1f}{mine - floor:+12.1f}  all operators")
    for name, found in functions.items():
        lines += ["", f"{name}: microseconds a step by function (own time, calls a step), under cProfile"]
        lines += [f"{own:12.1f}{calls:9.2f}  {where}" for own, calls, where in found[:25]]
    return "\n".join(lines)


def _again(task: Task, settings: Settings) -> Task:
    student: nn.Module = small(task, settings)[0].student
    return Task(task.data, task.teacher, student)


if __name__ == "__main__":
    for student in sys.argv[1:] or ("mlp_25k", "pocket_17k"):
        print(profile(student), end="\n\n")
