"""Answers in other words than the exercises' own examples, right and wrong."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.course.learners import Answers

ANSWERS = Answers()
wrong, right = ANSWERS.add_wrong, ANSWERS.add_right


def kd(z: Tensor, v: Tensor, t: float) -> Tensor:
    log_q, log_p = F.log_softmax(z / t, -1), F.log_softmax(v / t, -1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean() * t * t


def kd_minus_entropy(z: Tensor, v: Tensor, t: float) -> Tensor:
    p = F.softmax(v / t, dim=1)
    cross = F.cross_entropy(z / t, p)
    return (cross - torch.special.entr(p).sum(1).mean()) * t**2


def kd_with_a_loop(z: Tensor, v: Tensor, t: float) -> Tensor:
    total = torch.zeros(())
    for student, teacher in zip(z, v, strict=True):
        total = total + F.kl_div(F.log_softmax(student / t, 0), F.softmax(teacher / t, 0), reduction="sum")
    return t**2 * total / z.shape[0]


def kl(z: Tensor, v: Tensor, t: float, **options: Any) -> Tensor:
    return F.kl_div(F.log_softmax(z / t, dim=1), F.softmax(v / t, dim=1), **options)


def logs_of_zero(z: Tensor, v: Tensor, t: float) -> Tensor:
    p, q = torch.softmax(v / t, 1), torch.softmax(z / t, 1)
    return (p * torch.log(p / q)).sum(1).mean() * t**2


wrong(
    "distillation_term",
    T_squared_missing=lambda z, v, t: kl(z, v, t, reduction="batchmean"),
    T_for_T_squared=lambda z, v, t: kl(z, v, t, reduction="batchmean") * t,
    mean_for_batchmean=lambda z, v, t: kl(z, v, t, reduction="mean") * t**2,
    sum_for_mean=lambda z, v, t: kl(z, v, t, reduction="sum") * t**2,
    KL_sides_swapped=lambda z, v, t: kd(v, z, t),
    KL_on_raw_logits=lambda z, v, t: F.kl_div(z / t, F.softmax(v / t, 1), reduction="batchmean") * t**2,
    KL_of_raw_logits_on_both_sides=lambda z, v, t: (torch.exp(v / t) * (v - z) / t).sum(1).mean() * t**2,
    softmax_over_the_wrong_axis=lambda z, v, t: (
        F.kl_div(F.log_softmax(z / t, 0), F.softmax(v / t, 0), reduction="batchmean") * t**2
    ),
    teacher_not_softened=lambda z, v, t: kd(z, v * t, t),
    nobody_softened=lambda z, v, t: kd(z, v, 1.0) * t**2,
    log_of_a_probability_that_is_0=logs_of_zero,
    gradient_cut=lambda z, v, t: torch.tensor(kd(z, v, t).item()),
    wrong_shape=lambda z, v, t: kd(z, v, t).reshape(1),
)
wrong(
    "distillation_term",
    **{"cross-entropy for KL": lambda z, v, t: F.cross_entropy(z / t, F.softmax(v / t, 1)) * t**2},
)
right("distillation_term", kd, kd_minus_entropy, kd_with_a_loop)


def full(z: Tensor, v: Tensor, y: Tensor, t: float, a: float) -> Tensor:
    return F.cross_entropy(z, y) * (1 - a) + kd(z, v, t) * a


def full_with_shortcuts(z: Tensor, v: Tensor, y: Tensor, t: float, a: float) -> Tensor:
    if a == 0:
        return F.cross_entropy(z, y)
    if a == 1:
        return kd_with_a_loop(z, v, t)
    return torch.lerp(F.cross_entropy(z, y), kd_with_a_loop(z, v, t), a)


def no_square_at_one(z: Tensor, v: Tensor, y: Tensor, t: float, a: float) -> Tensor:
    if a == 1:
        return kl(z, v, t, reduction="batchmean")
    return full(z, v, y, t, a)


wrong(
    "objective",
    weights_swapped=lambda z, v, y, t, a: a * F.cross_entropy(z, y) + (1 - a) * kd(z, v, t),
    labels_not_weighed=lambda z, v, y, t, a: F.cross_entropy(z, y) + a * kd(z, v, t),
    alpha_ignored=lambda z, v, y, t, a: F.cross_entropy(z, y) + kd(z, v, t),
    T_squared_missing=lambda z, v, y, t, a: a * kd(z, v, t) / t / t + (1 - a) * F.cross_entropy(z, y),
    T_squared_on_both_parts=lambda z, v, y, t, a: (
        t**2 * (a * kl(z, v, t, reduction="batchmean") + (1 - a) * F.cross_entropy(z, y))
    ),
    mean_for_batchmean=lambda z, v, y, t, a: (
        a * kl(z, v, t, reduction="mean") * t**2 + (1 - a) * F.cross_entropy(z, y)
    ),
    KL_sides_swapped=lambda z, v, y, t, a: a * kd(v, z, t) + (1 - a) * F.cross_entropy(z, y),
    labels_against_the_teacher=lambda z, v, y, t, a: a * kd(z, v, t) + (1 - a) * F.cross_entropy(v, y),
    T_squared_twice=lambda z, v, y, t, a: a * t**2 * kd(z, v, t) + (1 - a) * F.cross_entropy(z, y),
    **{
        "T squared dropped at alpha = 1": no_square_at_one,
        "labels' part softened": lambda z, v, y, t, a: a * kd(z, v, t) + (1 - a) * F.cross_entropy(z / t, y),
        "softmax before the cross-entropy": lambda z, v, y, t, a: (
            a * kd(z, v, t) + (1 - a) * F.cross_entropy(F.softmax(z, -1), y)
        ),
    },
)
right("objective", full, full_with_shortcuts)


def picked(stored: Tensor, order: Tensor, start: int, size: int) -> Tensor:
    places = range(start, min(start + size, len(order)))
    return torch.stack([stored[order[place]] for place in places])


wrong(
    "targets_for_batch",
    labels_and_soft_targets_misaligned_after_a_shuffle=lambda s, o, a, n: s[a:][:n],
    order_read_backwards=lambda s, o, a, n: s[torch.argsort(o)][a : a + n],
    size_for_end=lambda s, o, a, n: s[o][a:n],
    start_counted_in_batches=lambda s, o, a, n: s[o][a * n : a * n + n],
    one_short=lambda s, o, a, n: s[o][a : a + n - 1],
    places_for_logits=lambda s, o, a, n: o[a:][:n],
    probabilities_for_logits=lambda s, o, a, n: F.softmax(picked(s, o, a, n), dim=1),
    sorted=lambda s, o, a, n: s[sorted(o[a : a + n].tolist())],
)
right(
    "targets_for_batch",
    picked,
    lambda s, o, a, n: s[o][a : a + n],
    lambda s, o, a, n: torch.index_select(s, 0, o[a : a + n]),
    lambda s, o, a, n: torch.from_numpy(s.numpy()[o.numpy()[a : a + n]]),
)


def one_step(student: Any, teacher: Any, x: Tensor, y: Tensor, optimizer: Any, t: float, a: float) -> float:
    optimizer.zero_grad()
    teacher.eval()
    student.train()
    with torch.no_grad():
        v = teacher(x)
    loss = full(student(x), v, y, t, a)
    loss.backward()
    optimizer.step()
    return float(loss)


def frozen_step(
    student: Any, teacher: Any, x: Tensor, y: Tensor, optimizer: Any, t: float, a: float
) -> float:
    teacher.eval().requires_grad_(False)
    student.train()
    z, v = student(x), teacher(x).detach()
    loss = full(z, v, y, t, a)
    student.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach().item()


def teacher_as_it_came(
    student: Any, teacher: Any, x: Tensor, y: Tensor, optimizer: Any, t: float, a: float
) -> float:
    student.train()
    with torch.no_grad():
        v = teacher(x)
    loss = full(student(x), v, y, t, a)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def through_teacher(
    student: Any, teacher: Any, x: Tensor, y: Tensor, optimizer: Any, t: float, a: float
) -> float:
    student.train()
    teacher.eval()
    loss = full(student(x), teacher(x), y, t, a)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def never_clears(
    student: Any, teacher: Any, x: Tensor, y: Tensor, optimizer: Any, t: float, a: float
) -> float:
    student.train()
    with torch.no_grad():
        v = teacher.eval()(x)
    loss = full(student(x), v, y, t, a)
    loss.backward()
    optimizer.step()
    return loss.item()


def clears_afterwards(
    student: Any, teacher: Any, x: Tensor, y: Tensor, optimizer: Any, t: float, a: float
) -> float:
    loss = never_clears(student, teacher, x, y, optimizer, t, a)
    optimizer.zero_grad()
    return loss


def never_steps(
    student: Any, teacher: Any, x: Tensor, y: Tensor, optimizer: Any, t: float, a: float
) -> float:
    student.train()
    optimizer.zero_grad()
    with torch.no_grad():
        v = teacher.eval()(x)
    loss = full(student(x), v, y, t, a)
    loss.backward()
    return loss.item()


def student_as_it_came(
    student: Any, teacher: Any, x: Tensor, y: Tensor, optimizer: Any, t: float, a: float
) -> float:
    teacher.eval()
    with torch.no_grad():
        v = teacher(x)
    loss = full(student(x), v, y, t, a)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def plain_training(
    student: Any, teacher: Any, x: Tensor, y: Tensor, optimizer: Any, t: float, a: float
) -> float:
    student.train()
    loss = F.cross_entropy(student(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def no_backward(
    student: Any, teacher: Any, x: Tensor, y: Tensor, optimizer: Any, t: float, a: float
) -> float:
    student.train()
    with torch.no_grad():
        v = teacher.eval()(x)
    loss = full(student(x), v, y, t, a)
    optimizer.step()
    return loss.item()


def detaches(student: Any, teacher: Any, x: Tensor, y: Tensor, optimizer: Any, t: float, a: float) -> float:
    student.train()
    loss = full(student(x), teacher.eval()(x).detach(), y, t, a)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def arguments_swapped(
    student: Any, teacher: Any, x: Tensor, y: Tensor, optimizer: Any, t: float, a: float
) -> float:
    student.train()
    with torch.no_grad():
        v = teacher.eval()(x)
    loss = full(v, student(x).detach(), y, t, a)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


wrong(
    "distil_step",
    no_way_back_to_the_student=arguments_swapped,
    teacher_in_train_mode=teacher_as_it_came,
    gradient_into_the_teacher=through_teacher,
    no_step=never_steps,
    student_in_eval_mode=student_as_it_came,
    teacher_never_called=plain_training,
    no_backward_pass=no_backward,
    weights_swapped=lambda s, v, x, y, o, t, a: one_step(s, v, x, y, o, t, 1 - a),
)
ANSWERS.wrong["distil_step"] += [
    ("teacher's pass recorded", detaches),
    ("old gradients kept", never_clears),
    ("old gradients kept", clears_afterwards),
]
right("distil_step", one_step, frozen_step)
