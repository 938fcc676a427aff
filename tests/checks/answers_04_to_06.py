"""Wrong and right answers to lessons 04 to 06, written without looking at the checks' own mistakes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from tests.checks.answers import Answers

ANSWERS = Answers()
wrong, right = ANSWERS.add_wrong, ANSWERS.add_right

# -- lesson 04 ----------------------------------------------------------------------------------


def shifted_softmax(z: Tensor, t: float) -> Tensor:
    e = torch.exp((z - z.max(dim=1, keepdim=True).values) / t)
    return e / e.sum(dim=1, keepdim=True)


def row_by_row(z: Tensor, t: float) -> Tensor:
    rows = []
    for row in z.tolist():
        top = max(row)
        e = [math.exp((value - top) / t) for value in row]
        rows.append([value / sum(e) for value in e])
    return torch.tensor(rows)


def naive_softmax(z: Tensor, t: float) -> Tensor:
    return torch.exp(z / t) / torch.exp(z / t).sum(-1, keepdim=True)


wrong(
    "softened_probabilities",
    softmax_over_the_wrong_axis=lambda z, t: shifted_softmax(z.T, t).T,
    multiplied_by_the_temperature=lambda z, t: shifted_softmax(z, 1 / t),
    temperature_ignored=lambda z, t: row_by_row(z, 1.0),
    divided_after_the_softmax=lambda z, t: F.softmax(z, dim=-1) / t,
    divided_by_T_squared=lambda z, t: shifted_softmax(z, t * t),
    only_the_numerator=lambda z, t: torch.exp(z / t),
    overflow=naive_softmax,
    nothing_returned=lambda z, t: print(shifted_softmax(z, t)),
)
wrong("softened_probabilities", **{"log-probabilities": lambda z, t: F.log_softmax(z / t, dim=1)})
right("softened_probabilities", shifted_softmax, row_by_row, lambda z, t: F.softmax(z / t, dim=-1))


def looped_entropy(p: Tensor) -> Tensor:
    return torch.tensor([-sum(q * math.log(q) for q in row if q > 0) for row in p.tolist()])


def with_nan_to_num(p: Tensor) -> Tensor:
    return -(p * p.log()).nan_to_num(0.0).sum(1)


wrong(
    "entropy_nats",
    bits_for_nats=lambda p: looped_entropy(p) / math.log(2),
    decimal_logarithm=lambda p: torch.tensor(stats.entropy(p.double().numpy(), base=10, axis=1)),
    sign_missing=lambda p: -looped_entropy(p),
    mean_for_sum=lambda p: looped_entropy(p) / p.shape[-1],
    summed_over_the_pictures=lambda p: looped_entropy(p.T),
    averaged_over_the_batch=lambda p: looped_entropy(p).mean(),
    taken_for_logits=lambda p: looped_entropy(F.softmax(p, dim=-1)),
    perplexity=lambda p: looped_entropy(p).exp(),
    **{
        "0 log 0": lambda p: torch.sum(-p * torch.log(p), dim=-1),
        "rows with a 0 lost": lambda p: torch.nan_to_num((-p * p.log()).sum(-1)),
    },
)
right(
    "entropy_nats",
    looped_entropy,
    with_nan_to_num,
    lambda p: torch.special.entr(p).sum(-1),
    lambda p: -(p * (p + 1e-12).log()).sum(1),
)


def by_autograd(z: Tensor, v: Tensor, t: float) -> Tensor:
    z = z.clone().requires_grad_()
    loss = -((v / t).softmax(1) * (z / t).log_softmax(1)).sum(1).mean()
    (gradient,) = torch.autograd.grad(loss, z)
    return gradient


def with_loops(z: Tensor, v: Tensor, t: float) -> Tensor:
    q, p = shifted_softmax(z, t), shifted_softmax(v, t)
    g = torch.zeros_like(z)
    for b in range(z.shape[0]):
        for c in range(z.shape[1]):
            g[b, c] = (q[b, c] - p[b, c]) / t / z.shape[0]
    return g


wrong(
    "soft_gradient",
    sides_swapped=lambda z, v, t: -by_autograd(z, v, t),
    batch_mean_missing=lambda z, v, t: by_autograd(z, v, t) * len(z),
    T_squared_inside=lambda z, v, t: by_autograd(z, v, t) * t**2,
    divided_by_the_classes_too=lambda z, v, t: by_autograd(z, v, t) / z.shape[1],
    not_softened=lambda z, v, t: by_autograd(z, v, 1.0) / t,
    softmax_over_the_wrong_axis=lambda z, v, t: (F.softmax(z / t, 0) - F.softmax(v / t, 0)) / t / len(z),
    hard_targets=lambda z, v, t: (
        (shifted_softmax(z, t) - F.one_hot(v.argmax(1), z.shape[1])) / (t * z.shape[0])
    ),
    **{"1 / T missing": lambda z, v, t: by_autograd(z, v, t) * t},
)
right("soft_gradient", by_autograd, with_loops)


def centred(x: Tensor) -> Tensor:
    return torch.stack([row - row.mean() for row in x])


wrong(
    "matching_logits_gradient",
    sides_swapped=lambda z, v, t: (centred(v) - centred(z)) / z.numel(),
    means_left_in=lambda z, v, t: (z - v) / (len(z) * z.shape[1]),
    mean_over_the_batch=lambda z, v, t: ((z - z.mean(0)) - (v - v.mean(0))) / z.numel(),
    one_mean_for_all=lambda z, v, t: ((z - z.mean()) - (v - v.mean())) / z.numel(),
    batch_mean_missing=lambda z, v, t: (centred(z) - centred(v)) / z.shape[1],
    number_of_classes_missing=lambda z, v, t: (centred(z) - centred(v)) / z.shape[0],
    T_squared_left_in=lambda z, v, t: (centred(z) - centred(v)) / z.numel() / t / t,
    exact_gradient_for_the_limit=lambda z, v, t: t**2 * by_autograd(z, v, t),
)
right(
    "matching_logits_gradient",
    lambda z, v, t: (centred(z) - centred(v)) / z.numel(),
    lambda z, v, t: 1e12 * by_autograd(z.double(), v.double(), 1e6),
    lambda z, v, t: ((z - v) - (z - v).mean(-1, keepdim=True)) / (z.shape[0] * z.shape[1]),
)

# -- lesson 05 ----------------------------------------------------------------------------------


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
    teacher_never_asked=plain_training,
    no_backward_pass=no_backward,
    weights_swapped=lambda s, v, x, y, o, t, a: one_step(s, v, x, y, o, t, 1 - a),
)
ANSWERS.wrong["distil_step"] += [
    ("teacher's pass recorded", detaches),
    ("old gradients kept", never_clears),
    ("old gradients kept", clears_afterwards),
]
right("distil_step", one_step, frozen_step)

# -- lesson 06 ----------------------------------------------------------------------------------

wrong(
    "recovered",
    gain_alone=lambda p, d, t: d - p,
    gap_still_open=lambda p, d, t: 1 - (d - p) / (t - p),
    divided_by_the_gap_still_open=lambda p, d, t: (p - d) / (d - t),
    upside_down=lambda p, d, t: 1 / ((d - p) / (t - p)),
    relative_gain=lambda p, d, t: d / p - 1,
    percent_for_share=lambda p, d, t: (d - p) / (t - p) * 100,
    harm_hidden=lambda p, d, t: (d - p) / (t - p) if d > p else 0.0,
    brackets_missing=lambda p, d, t: d - p / t - p,
    **{
        "share of the teacher's accuracy": lambda p, d, t: 1 - (t - d) / t,
        "gain as a share of the teacher's accuracy": lambda p, d, t: d / t - p / t,
        "cut to 0..1": lambda p, d, t: float(np.clip((d - p) / (t - p), 0, 1)),
    },
)
right(
    "recovered",
    lambda p, d, t: 1 - (t - d) / (t - p),
    lambda p, d, t: float(np.interp(d, [p - 10 * (t - p), p + 10 * (t - p)], [-10, 10])),
    lambda p, d, t: ((1 - p) - (1 - d)) / ((1 - p) - (1 - t)),
)


def differences(p: list[float], d: list[float]) -> np.ndarray:
    return np.array(d) - np.array(p)


def by_scipy(p: list[float], d: list[float]) -> tuple[float, float, float]:
    result = stats.ttest_rel(d, p)
    interval = result.confidence_interval(0.95)
    return float(np.mean(differences(p, d))), float(interval.low), float(interval.high)


TABLE = {1: 12.706, 2: 4.303, 4: 2.776, 6: 2.447}


def by_table(p: list[float], d: list[float]) -> tuple[Any, ...]:
    x = differences(p, d)
    half = TABLE[len(x) - 1] * x.std(ddof=1) / np.sqrt(len(x))
    return x.mean(), x.mean() - half, x.mean() + half


def around(x: np.ndarray, half: float) -> tuple[float, float, float]:
    return float(x.mean()), float(x.mean() - half), float(x.mean() + half)


def unpaired(p: list[float], d: list[float]) -> tuple[float, float, float]:
    interval = stats.ttest_ind(d, p).confidence_interval(0.95)
    return float(np.mean(d) - np.mean(p)), float(interval.low), float(interval.high)


def t_of(n: int, level: float = 0.975) -> float:
    return float(stats.t.ppf(level, n))


wrong(
    "paired_interval",
    normal_for_t=lambda p, d: around(x := differences(p, d), 1.96 * stats.sem(x)),
    two_for_t=lambda p, d: around(x := differences(p, d), 2 * stats.sem(x)),
    not_paired=unpaired,
    root_of_n_missing=lambda p, d: around(x := differences(p, d), t_of(len(x) - 1) * x.std(ddof=1)),
    one_degree_too_many=lambda p, d: around(x := differences(p, d), t_of(len(x)) * stats.sem(x)),
    sides_swapped=lambda p, d: by_scipy(d, p),
    mean_in_the_middle=lambda p, d: (by_scipy(p, d)[1], by_scipy(p, d)[0], by_scipy(p, d)[2]),
    wrong_length=lambda p, d: by_scipy(p, d)[1:],
    points_for_shares=lambda p, d: tuple(100 * end for end in by_scipy(p, d)),
    one_standard_error=lambda p, d: around(x := differences(p, d), stats.sem(x)),
    **{
        "n for n - 1 in the spread": lambda p, d: around(
            x := differences(p, d), t_of(len(x) - 1) * x.std() / len(x) ** 0.5
        ),
        "0.975 for 0.95": lambda p, d: around(
            x := differences(p, d), t_of(len(x) - 1, 0.9875) * stats.sem(x)
        ),
        "one-sided": lambda p, d: around(x := differences(p, d), t_of(len(x) - 1, 0.95) * stats.sem(x)),
    },
)
right("paired_interval", by_scipy, by_table)


def looped_agreement(z: Tensor, v: Tensor) -> float:
    same = [a.index(max(a)) == b.index(max(b)) for a, b in zip(z.tolist(), v.tolist(), strict=True)]
    return sum(same) / len(same)


wrong(
    "agreement_with_teacher",
    largest_over_the_wrong_axis=lambda z, v: looped_agreement(z.T, v.T),
    count_for_share=lambda z, v: looped_agreement(z, v) * float(len(z)),
    percent_for_share=lambda z, v: looped_agreement(z, v) * 100,
    disagreement=lambda z, v: 1 - looped_agreement(z, v),
    logits_compared=lambda z, v: torch.isclose(z, v).float().mean().item(),
    largest_logits_compared=lambda z, v: (z.amax(1) == v.amax(1)).float().mean().item(),
    whole_ranking_compared=lambda z, v: float(np.mean((np.argsort(z, 1) == np.argsort(v, 1)).numpy().all(1))),
    number_left_in_a_tensor=lambda z, v: (z.argmax(1) == v.argmax(1)).float().mean(),
)
right(
    "agreement_with_teacher",
    looped_agreement,
    lambda z, v: float(np.mean(z.numpy().argmax(1) == v.numpy().argmax(1))),
)


def looped_pairs(a: Tensor, b: Tensor) -> tuple[int, int]:
    one = two = 0
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        one += x and not y
        two += y and not x
    return one, two


wrong(
    "discordant_pairs",
    order_swapped=lambda a, b: looped_pairs(b, a),
    all_that_each_gets_right=lambda a, b: (sum(a.tolist()), sum(b.tolist())),
    where_they_agree=lambda a, b: (int(torch.logical_and(a, b).sum()), int(torch.logical_not(a | b).sum())),
    shares_for_counts=lambda a, b: tuple(float(n) / a.numel() for n in looped_pairs(a, b)),
    both_directions_together=lambda a, b: (int((a ^ b).sum()),) * 2,
    both_right_on_both_sides=lambda a, b: (int((a * b).sum()), int((b * a).sum())),
    or_for_and=lambda a, b: (int((a | ~b).sum()), int((b | ~a).sum())),
    won_minus_lost=lambda a, b: (int((a.int() - b.int()).sum()), int((b.int() - a.int()).sum())),
    number_left_in_a_tensor=lambda a, b: ((a & ~b).sum(), (b & ~a).sum()),
    wrong_type=lambda a, b: int((a != b).sum()),
)
right(
    "discordant_pairs",
    looped_pairs,
    lambda a, b: (int((a.int() > b.int()).sum()), int((a.int() < b.int()).sum())),
    lambda a, b: [np.sum(a.numpy() & ~b.numpy()), np.sum(b.numpy() & ~a.numpy())],
)
