"""Wrong and right answers to lessons 00 to 03, written without looking at the checks' own mistakes."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.checks.answers import Answers

ANSWERS = Answers()
wrong, right = ANSWERS.add_wrong, ANSWERS.add_right

# -- lesson 00 ----------------------------------------------------------------------------------


def only_first(model: nn.Module) -> int:
    total = 0
    for p in model.parameters():
        total += p.numel()
        return total
    return total


def stored(model: nn.Module) -> int:
    names = [name for name in model.state_dict() if "running" not in name and "num_batches" not in name]
    return sum(model.state_dict()[name].numel() for name in names)


def by_modules(model: nn.Module) -> int:
    total = 0
    for module in model.modules():
        for p in module.parameters(recurse=False):
            total += math.prod(p.shape)
    return total


wrong(
    "count_parameters",
    tensors_counted=lambda model: sum(1 for _ in model.parameters()),
    rows_counted=lambda model: sum(p.shape[0] for p in model.parameters()),
    buffers_counted=lambda model: sum(p.numel() for p in [*model.parameters(), *model.buffers()]),
    frozen_ones_left_out=lambda model: sum(math.prod(p.shape) for p in model.parameters() if p.requires_grad),
    biases_left_out=lambda model: sum(p.numel() for n, p in model.named_parameters() if p.dim() >= 2),
    bytes_for_numbers=lambda model: sum(p.nbytes for p in model.parameters()),
    first_tensor_only=only_first,
    shared_layer_counted_twice=stored,
)
right(
    "count_parameters",
    by_modules,
    lambda model: int(sum(np.prod(tuple(p.shape)) for p in model.parameters())),
    lambda model: sum(len(p.detach().flatten().tolist()) for p in model.parameters()),
)


def looped_accuracy(logits: Tensor, labels: Tensor) -> float:
    hits = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        hits += row.index(max(row)) == label
    return hits / len(labels)


wrong(
    "fraction_correct",
    largest_over_the_wrong_axis=lambda z, y: float((z.max(0).indices == y).float().mean()),
    largest_of_the_whole_table=lambda z, y: (y == z.flatten().max(0).indices).sum().item() / len(y),
    count_for_share=lambda z, y: sum(float(a == b) for a, b in zip(z.argmax(-1), y, strict=True)),
    percent_for_share=lambda z, y: looped_accuracy(z, y) * 100.0,
    errors_for_hits=lambda z, y: 1.0 - looped_accuracy(z, y),
    smallest_for_largest=lambda z, y: looped_accuracy(-z, y),
    divided_by_classes=lambda z, y: (z.argmax(1) == y).sum().item() / z.size(-1),
    rounded=lambda z, y: round(looped_accuracy(z, y), 2),
    number_left_in_a_tensor=lambda z, y: (z.argmax(1) == y).float().mean(),
)
right(
    "fraction_correct",
    looped_accuracy,
    lambda z, y: float(np.mean(z.numpy().argmax(axis=1) == y.numpy())),
    lambda z, y: (z.topk(1, dim=1).indices.squeeze(1) == y).float().mean().item(),
)

wrong(
    "points_gained",
    share_for_points=lambda a, b: -(a - b),
    relative_gain=lambda a, b: (b / a - 1) * 100,
    sides_swapped=lambda a, b: a * 100 - b * 100,
    sign_lost=lambda a, b: ((b - a) ** 2) ** 0.5 * 100,
    share_of_errors_removed=lambda a, b: 100 * ((1 - a) - (1 - b)) / (1 - a),
    ratio_for_difference=lambda a, b: b / a * 100,
    rounded=lambda a, b: np.round(100 * (b - a)),
)
right(
    "points_gained",
    lambda a, b: b * 100 - a * 100,
    lambda a, b: ((1 - a) - (1 - b)) / 0.01,
    lambda plain, distilled: np.float64(distilled - plain) * 100,
)

# -- lesson 01 ----------------------------------------------------------------------------------

wrong(
    "weight_megabytes",
    bits_for_bytes=lambda n, b: n / 1_000_000 * b,
    mebibytes=lambda n, b: n * (b / 8) / 1024 / 1024,
    bytes_for_megabytes=lambda n, b: n * (b / 8),
    kilobytes=lambda n, b: n * (b / 8) / 1000,
    always_four_bytes=lambda n, b: n * 32 / 8 / 10**6,
    multiplied_by_eight=lambda n, b: 8 * n * b / 10**6,
    whole_bytes_a_parameter=lambda n, b: float(n * int(b / 8)) / 10**6,
    whole_bytes=lambda n, b: math.floor(n * b / 8) / 10**6,
    rounded=lambda n, b: float(f"{n * b / 8e6:.2f}"),
)
right(
    "weight_megabytes",
    lambda n, b: n * b / 8_000_000,
    lambda n, b: float(np.float64(n) * b * 0.125e-6),
)


def macs_by_loops(i: int, o: int, k: int, h: int, w: int) -> int:
    total = 0
    for _ in range(h):
        for _ in range(w):
            total += i * o * k * k
    return total


def macs_by_torch(i: int, o: int, k: int, h: int, w: int) -> int:
    conv = nn.Conv2d(i, o, k, padding=k // 2, bias=False)
    return conv.weight.numel() * conv(torch.zeros(1, i, h, w))[0, 0].numel()


wrong(
    "conv_macs",
    kernel_not_squared=lambda i, o, k, h, w: macs_by_loops(i, o, 1, h, w) * k,
    **{"operations for multiply-accumulates": lambda i, o, k, h, w: macs_by_loops(i, o, k, h, w) * 2},
    picture_forgotten=lambda i, o, k, h, w: nn.Conv2d(i, o, k, bias=False).weight.numel(),
    padding_forgotten=lambda i, o, k, h, w: i * o * k * k * (h - (k - 1)) * (w - (k - 1)),
    input_channels_missing=lambda i, o, k, h, w: macs_by_loops(1, o, k, h, w),
    output_channels_missing=lambda i, o, k, h, w: macs_by_loops(i, 1, k, h, w),
    bias_counted=lambda i, o, k, h, w: macs_by_loops(i, o, k, h, w) + o * h * w,
    picture_taken_for_a_square=lambda i, o, k, h, w: macs_by_loops(i, o, k, h, h),
)
right("conv_macs", macs_by_loops, macs_by_torch)


def middle(times: list[float]) -> float:
    times = sorted(times[3:])
    half = len(times) // 2
    return times[half] if len(times) % 2 else (times[half - 1] + times[half]) / 2


def sorts_its_input(times: list[float]) -> float:
    del times[:3]
    return statistics.median(times)


wrong(
    "median_latency",
    **{"warm-up kept": lambda s: float(np.median(s))},
    mean_for_median=lambda s: sum(s[3:]) / len(s[3:]),
    **{"mean with warm-up": lambda s: sum(s) / len(s)},
    **{"warm-up alone kept": lambda s: sorted(s[:3])[1]},
    fastest_for_typical=lambda s: sorted(s[3:])[0],
    lower_of_two_in_the_middle=lambda s: torch.tensor(s[3:]).median().item(),
    sorted_before_dropping=lambda s: float(np.median(np.sort(s)[3:])),
    upper_of_two_in_the_middle=lambda s: statistics.median_high(s[3:]),
    two_dropped=lambda s: middle([s[0], *s]),
    milliseconds=lambda s: middle(s) * 1e3,
    inputs_changed=sorts_its_input,
)
right("median_latency", middle, lambda s: float(np.median(s[3:])), lambda s: np.quantile(s[3:], 0.5))

# -- lesson 02 ----------------------------------------------------------------------------------


def looped_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    losses = []
    for row, label in zip(logits, labels, strict=True):
        losses.append(torch.logsumexp(row, 0) - row[label])
    return torch.stack(losses).mean()


def gathered_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    log_p = logits - logits.logsumexp(dim=1, keepdim=True)
    return -log_p.gather(1, labels.unsqueeze(1)).squeeze(1).mean()


def one_hot_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    one_hot = F.one_hot(labels, logits.shape[1]).float()
    return -(one_hot * logits.log_softmax(-1)).sum() / logits.shape[0]


def naive_exp(logits: Tensor, labels: Tensor) -> Tensor:
    p = torch.exp(logits)
    p = p / p.sum(dim=1, keepdim=True)
    return -torch.log(p[range(len(labels)), labels]).mean()


def log_of_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    p = torch.softmax(logits, dim=-1)
    return -p.log().gather(1, labels[:, None]).mean()


def against_the_largest_of_all(z: Tensor, y: Tensor) -> Tensor:
    z = z - torch.max(z)
    return -(z - torch.log(z.exp().sum(-1, keepdim=True)))[range(len(y)), y].mean()


wrong(
    "cross_entropy_by_hand",
    sum_for_mean=lambda z, y: looped_cross_entropy(z, y) * len(y),
    sign_missing=lambda z, y: z.log_softmax(1)[torch.arange(len(y)), y].mean(),
    softmax_over_the_batch=lambda z, y: -(z - z.logsumexp(0)).gather(1, y[:, None]).mean(),
    softmax_twice=lambda z, y: gathered_cross_entropy(torch.softmax(z, 1), y),
    every_label_for_every_picture=lambda z, y: (-torch.log_softmax(z, dim=1)[:, y]).mean(),
    all_classes_averaged=lambda z, y: -F.log_softmax(z, dim=-1).mean(),
    divided_by_the_classes_too=lambda z, y: -(F.one_hot(y, z.shape[1]) * z.log_softmax(1)).mean(),
    maximum_of_each_column=lambda z, y: gathered_cross_entropy(z - z.amax(0), y),
    one_sum_for_the_whole_batch=lambda z, y: (
        looped_cross_entropy(z - z.amax(1, keepdim=True), y)
        + (z - z.amax(1, keepdim=True)).logsumexp((0, 1))
        - (z - z.amax(1, keepdim=True)).logsumexp(1).mean()
    ),
    log_of_the_sum_left_out=lambda z, y: (
        (z - z.amax(1, keepdim=True)).exp().sum(1).mean()
        - F.one_hot(y, z.shape[1]).mul(z - z.amax(1, keepdim=True)).sum(1).mean()
    ),
    largest_logit_not_taken_away=lambda z, y: (z.exp().sum(1).log() - z.gather(1, y[:, None])[:, 0]).mean(),
    one_maximum_for_the_whole_batch=against_the_largest_of_all,
    bits_for_nats=lambda z, y: looped_cross_entropy(z, y) * math.log2(math.e),
    overflow=naive_exp,
    log_of_a_softmax_that_is_0=log_of_softmax,
    gradient_cut=lambda z, y: looped_cross_entropy(z.detach(), y),
)
right("cross_entropy_by_hand", looped_cross_entropy, gathered_cross_entropy, one_hot_cross_entropy)


def in_place(w: Tensor, g: Tensor, v: Tensor, lr: float, m: float) -> tuple[Tensor, Tensor]:
    v.mul_(m).add_(g)
    w -= lr * v
    return w, v


def by_torch(w: Tensor, g: Tensor, v: Tensor, lr: float, m: float) -> tuple[Tensor, Tensor]:
    p = nn.Parameter(w.clone())
    p.grad = g.clone()
    new_v = v.mul(m).add(g)
    with torch.no_grad():
        p.sub_(new_v, alpha=lr)
    return p.detach(), new_v


def step(w: Tensor, g: Tensor, v: Tensor, lr: float, m: float) -> tuple[Tensor, Tensor]:
    new_v = torch.add(g, v, alpha=m)
    return torch.sub(w, new_v, alpha=lr), new_v


wrong(
    "momentum_step",
    gradient_for_velocity=lambda w, g, v, lr, m: (w - g * lr, g + v * m),
    old_velocity_used=lambda w, g, v, lr, m: (w - v * lr, g + v * m),
    velocity_not_handed_on=lambda w, g, v, lr, m: (step(w, g, v, lr, m)[0], v),
    learning_rate_twice=lambda w, g, v, lr, m: (w - v * m * lr - g * lr * lr, v * m + g * lr),
    velocity_pointing_downhill=lambda w, g, v, lr, m: (w + v * m - g * lr, v * m - g * lr),
    learning_rate_inside_the_velocity=lambda w, g, v, lr, m: (w - v * m - g * lr, v * m + g * lr),
    **{
        "gradient weighed by 1 - momentum": lambda w, g, v, lr, m: (
            w - lr * torch.lerp(g, v, m),
            torch.lerp(g, v, m),
        )
    },
    uphill=lambda w, g, v, lr, m: (w + lr * (g + m * v), g + m * v),
    order_of_the_two_swapped=lambda w, g, v, lr, m: step(w, g, v, lr, m)[::-1],
    inputs_changed=in_place,
)
right("momentum_step", by_torch, step, lambda w, g, v, lr, m: [w - lr * (m * v + g), m * v + g])


def ask(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    was = model.training
    model.eval()
    with torch.inference_mode():
        hits = sum(
            (model(image[None]).argmax(1) == label).item()
            for image, label in zip(images, labels, strict=True)
        )
    model.train(was)
    return hits / len(labels)


@torch.no_grad()
def ask_decorated(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    modes = {m: m.training for m in model.modules()}
    model.train(False)
    try:
        return np.mean((model(images).argmax(-1) == labels).numpy())
    finally:
        for m, mode in modes.items():
            m.training = mode


def ask_in_train_mode(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def ask_with_gradient(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    was = model.training
    model.eval()
    hits = (model(images).argmax(1) == labels).float().mean().item()
    model.train(was)
    return hits


def ask_and_leave_eval(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def ask_and_train(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    accuracy = ask_and_leave_eval(model, images, labels)
    model.train()
    return accuracy


wrong(
    "validation_accuracy",
    model_in_train_mode=ask_in_train_mode,
    gradients_recorded=ask_with_gradient,
    left_in_eval_mode=ask_and_leave_eval,
    always_left_in_train_mode=ask_and_train,
    percent_for_share=lambda *given: 100 * ask(*given),
    count_for_share=lambda model, x, y: ask(model, x, y) * len(x),
    errors_for_hits=lambda *given: 1 - ask(*given),
)
right("validation_accuracy", ask, ask_decorated)


def by_rule(train: list[float], val: list[float]) -> str:
    lowest = np.argmin(val)
    if val[-1] / val[lowest] >= 1.1 and train[-1] < train[lowest]:
        return "overfitting"
    return "underfitting" if train[-1] / train[0] > 0.9 else "fits"


def by_rule_in_a_loop(train: list[float], val: list[float]) -> str:
    smallest, then = float("inf"), None
    for t, v in zip(train, val, strict=True):
        if v < smallest:
            smallest, then = v, t
    if val[-1] >= smallest + 0.1 * smallest and train[-1] < then:
        verdict = "overfitting"
    elif train[-1] > train[0] - 0.1 * train[0]:
        verdict = "underfitting"
    else:
        verdict = "fits"
    return verdict


def underfitting_first(train: list[float], val: list[float]) -> str:
    if train[-1] > 0.9 * train[0]:
        return "underfitting"
    lowest = val.index(min(val))
    return "overfitting" if val[-1] >= 1.1 * min(val) and train[-1] < train[lowest] else "fits"


def without_training(train: list[float], val: list[float]) -> str:
    if val[-1] >= 1.1 * min(val):
        return "overfitting"
    return "underfitting" if train[-1] > 0.9 * train[0] else "fits"


def any_rise(train: list[float], val: list[float]) -> str:
    if val[-1] > min(val) and train[-1] < train[val.index(min(val))]:
        return "overfitting"
    return "underfitting" if train[-1] > 0.9 * train[0] else "fits"


def against_first(train: list[float], val: list[float]) -> str:
    if val[-1] >= 1.1 * val[0] and train[-1] < train[val.index(min(val))]:
        return "overfitting"
    return "underfitting" if train[-1] > 0.9 * train[0] else "fits"


def against_the_epoch_before(t: list[float], v: list[float]) -> str:
    if v[-1] / min(v) >= 1.1 and t[-1] - t[-2] < 0:
        return "overfitting"
    return "underfitting" if t[-1] / t[0] > 0.9 else "fits"


wrong(
    "diagnose",
    underfitting_asked_first=underfitting_first,
    training_not_looked_at=without_training,
    any_rise_is_overfitting=any_rise,
    compared_with_the_first_epoch=against_first,
    words_swapped=lambda t, v: {"overfitting": "underfitting", "underfitting": "overfitting"}.get(
        by_rule(t, v), "fits"
    ),
    training_compared_with_the_epoch_before=against_the_epoch_before,
    never_underfits=lambda t, v: "overfitting" if by_rule(t, v) == "overfitting" else "fits",
)
right("diagnose", by_rule, by_rule_in_a_loop)

# -- lesson 03 ----------------------------------------------------------------------------------


def added_up(z: Tensor) -> Tensor:
    total = torch.zeros_like(z[0])
    for member in z:
        total = total + member
    return total / len(z)


wrong(
    "mean_of_logits",
    sum_for_mean=lambda z: added_up(z) * len(z),
    mean_over_the_pictures=lambda z: torch.mean(z, 1),
    mean_over_the_classes=lambda z: torch.mean(z, -1),
    probabilities_averaged=lambda z: added_up(torch.softmax(z, -1)),
    softmax_at_the_end=lambda z: torch.softmax(added_up(z), -1),
    first_member_only=lambda z: next(iter(z)),
    most_certain_member=lambda z: torch.amax(z, 0),
)
right(
    "mean_of_logits", added_up, lambda z: torch.from_numpy(z.numpy().mean(0)), lambda z: z.sum(0) / z.shape[0]
)


def naive_probabilities(z: Tensor) -> Tensor:
    e = torch.exp(z)
    return (e / e.sum(-1, keepdim=True)).mean(0)


wrong(
    "mean_of_probabilities",
    logits_averaged_first=lambda z: F.softmax(added_up(z), dim=-1),
    softmax_over_the_members=lambda z: F.softmax(z, dim=0).mean(0),
    softmax_over_the_pictures=lambda z: F.softmax(z, dim=1).mean(0),
    softmax_left_out=added_up,
    sum_for_mean=lambda z: F.softmax(z, dim=-1).sum(0),
    log_at_the_end=lambda z: torch.log(F.softmax(z, dim=-1).mean(0)),
    probabilities_multiplied=lambda z: F.softmax(z, dim=-1).prod(0) ** (1 / len(z)),
    overflow=naive_probabilities,
)
right(
    "mean_of_probabilities",
    lambda z: added_up(torch.stack([F.softmax(member, dim=-1) for member in z])),
    lambda z: (z.log_softmax(-1).logsumexp(0) - math.log(len(z))).exp(),
)


def all_pairs(p: Any) -> list[float]:
    p = np.asarray(p)
    return [float((p[i] != p[j]).mean()) for i in range(len(p)) for j in range(i + 1, len(p))]


def overwritten(p: Tensor) -> float:
    pairs = list(itertools.combinations(range(len(p)), 2))
    total = 0.0
    for i, j in pairs:
        total = (p[i] != p[j]).float().mean().item()
    return total / len(pairs)


def columns_for_rows(p: Tensor) -> float:
    pairs = list(itertools.combinations(range(p.shape[1]), 2))
    total = 0.0
    for i, j in pairs:
        total += (p[:, i] != p[:, j]).float().mean().item()
    return total / len(pairs)


wrong(
    "pairwise_disagreement",
    pairs_of_a_member_with_itself=lambda p: float(np.mean([[(a != b).float().mean() for a in p] for b in p])),
    agreement_for_disagreement=lambda p: 1 - statistics.mean(all_pairs(p)),
    sum_over_the_pairs=lambda p: sum(all_pairs(p)),
    neighbours_only=lambda p: float(np.mean([(p[i] != p[i + 1]).float().mean() for i in range(len(p) - 1)])),
    all_compared_with_the_first=lambda p: float(np.mean([(p[0] != q).float().mean() for q in p[1:]])),
    any_disagreement=lambda p: float(np.mean([len(set(column)) > 1 for column in p.T.tolist()])),
    count_for_share=lambda p: statistics.mean(all_pairs(p)) * p.size(1),
    pictures_paired=columns_for_rows,
    last_pair_only=overwritten,
)
right(
    "pairwise_disagreement",
    lambda p: statistics.mean(all_pairs(p)),
    lambda p: (torch.pdist(p.double(), p=0) / p.shape[1]).mean().item(),
)


def in_bins(confidence: Tensor, correct: Tensor, bins: int) -> list[tuple[int, float]]:
    c, k = confidence.double().numpy(), correct.numpy()
    found = []
    for b in range(bins):
        inside = (c > b / bins) & (c <= (b + 1) / bins)
        if inside.any():
            found.append((int(inside.sum()), float(k[inside].mean() - c[inside].mean())))
    return found


def edges(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    return sum(count * abs(gap) for count, gap in in_bins(confidence, correct, bins)) / len(confidence)


def by_counting(confidence: Tensor, correct: Tensor, bins: int = 10) -> float:
    where = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1)[1:-1])
    hits = torch.bincount(where, weights=correct.double(), minlength=bins)
    sure = torch.bincount(where, weights=confidence.double(), minlength=bins)
    return float((hits - sure).abs().sum() / len(confidence))


def against_the_middles(c: Tensor, k: Tensor, bins: int = 10) -> float:
    error = 0.0
    for b in range(bins):
        inside = (c > b / bins) & (c <= (b + 1) / bins)
        if inside.any():
            error += float(
                inside.float().mean() * (k[inside].float().mean() - (2 * b + 1) / (2 * bins)).abs()
            )
    return error


wrong(
    "calibration_error",
    bins_not_weighted=lambda c, k, bins=10: float(np.mean([abs(g) for _, g in in_bins(c, k, bins)])),
    empty_bins_counted=lambda c, k, bins=10: sum(abs(g) for _, g in in_bins(c, k, bins)) / bins,
    gaps_cancel=lambda c, k, bins=10: sum(n * g for n, g in in_bins(c, k, bins)) / len(c),
    one_bin=lambda c, k, bins=10: abs(c.mean() - k.float().mean()).item(),
    picture_by_picture=lambda c, k, bins=10: float(np.mean(np.abs(c.numpy() - k.numpy()))),
    largest_gap=lambda c, k, bins=10: max(abs(g) for _, g in in_bins(c, k, bins)),
    squared_gaps=lambda c, k, bins=10: sum(n * g * g for n, g in in_bins(c, k, bins)) / len(c),
    number_of_bins_ignored=lambda c, k, bins=10: edges(c, k, 10),
    middle_of_the_bin_for_its_confidence=against_the_middles,
)
right("calibration_error", edges, by_counting)
