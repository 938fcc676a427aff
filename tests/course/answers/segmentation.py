"""Answers in other words than the exercises' own examples, right and wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.course.learners import Answers

ANSWERS = Answers()
wrong, right = ANSWERS.add_wrong, ANSWERS.add_right


NAN = float("nan")

# -- class_iou ----------------------------------------------------------------------------------


def hits(a: Tensor, b: Tensor, k: int) -> tuple[int, int, int]:
    """True positives, false positives and false negatives, pixel by pixel."""
    tp = fp = fn = 0
    for said, true in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True):
        if true != 255:
            tp += said == k and true == k
            fp += said == k and true != k
            fn += said != k and true == k
    return tp, fp, fn


def looped_iou(a: Tensor, b: Tensor, k: int) -> float:
    tp, fp, fn = hits(a, b, k)
    return tp / (tp + fp + fn) if tp + fp + fn else NAN


def iou_of_sets(a: Tensor, b: Tensor, k: int) -> float:
    scored = {i for i, true in enumerate(b.flatten().tolist()) if true != 255}
    said = {i for i in scored if a.flatten()[i] == k}
    true = {i for i in scored if b.flatten()[i] == k}
    return len(said & true) / len(said | true) if said | true else NAN


def masked_product(a: Tensor, b: Tensor, k: int) -> float:
    keep = (b != 255).float()
    said, true = (a == k).float() * keep, (b == k).float() * keep
    inter = (said * true).sum()
    return (inter / (said.sum() + true.sum() - inter)).item()


def in_numpy(a: Tensor, b: Tensor, k: int) -> np.floating[Any] | float:
    said, true = a.numpy()[b.numpy() != 255] == k, b.numpy()[b.numpy() != 255] == k
    union = np.logical_or(said, true).sum()
    return np.logical_and(said, true).sum() / union if union > 0 else np.nan


def without_the_255(a: Tensor, b: Tensor, k: int) -> float:
    said, true = a == k, b == k
    union = (said | true).sum()
    return ((said & true).sum() / union).item()


def nan_to(value: float, a: Tensor, b: Tensor, k: int) -> float:
    found = looped_iou(a, b, k)
    return value if found != found else found


def dice(a: Tensor, b: Tensor, k: int) -> float:
    tp, fp, fn = hits(a, b, k)
    return 2 * tp / max(2 * tp + fp + fn, 1)


def found_share(a: Tensor, b: Tensor, k: int) -> float:
    tp, _, fn = hits(a, b, k)
    return tp / (tp + fn) if tp + fn else 0.0


def trusted_share(a: Tensor, b: Tensor, k: int) -> float:
    tp, fp, _ = hits(a, b, k)
    return tp / (tp + fp) if tp + fp else 0.0


def per_image(a: Tensor, b: Tensor, k: int) -> float:
    each = [looped_iou(a[n], b[n], k) for n in range(len(a))]
    return float(np.nanmean(each))


def per_truth(a: Tensor, b: Tensor, k: int) -> float:
    return looped_iou(a, b, k) if (b == k).any() else NAN


def of_numbers(a: Tensor, b: Tensor, k: int) -> float:
    said, true = a[b != 255], b[b != 255]
    union = (said | true).sum().item()
    return (said & true).sum().item() / union if union else NAN


wrong(
    "class_iou",
    NaN_where_truth_lacks_the_class=per_truth,
    NaN_where_no_pixel_is_right=lambda a, b, k: looped_iou(a, b, k) or NAN,
    label_not_compared_with=of_numbers,
    ignored_pixels_made_background=lambda a, b, k: looped_iou(a.where(b != 255, 0), b.where(b != 255, 0), k),
    background_left_out=lambda a, b, k: looped_iou(a[(b != 0) & (b != 255)], b[(b != 0) & (b != 255)], k),
    rounded_down=lambda a, b, k: looped_iou(a, b, k) // 1,
    intersection_counted_twice=lambda a, b, k: dice(a, b, k) / 2,
    Dice_for_IoU=dice,
    recall_for_IoU=found_share,
    precision_for_IoU=trusted_share,
    pixel_accuracy_for_IoU=lambda a, b, k: (a[b != 255] == b[b != 255]).float().mean().item(),
    accuracy_of_one_class_for_IoU=lambda a, b, k: ((a == k) == (b == k))[b != 255].float().mean().item(),
    ignored_pixels_counted=without_the_255,
    absent_class_counted_as_0=lambda a, b, k: nan_to(0.0, a, b, k),
    absent_class_counted_as_1=lambda a, b, k: nan_to(1.0, a, b, k),
    mean_over_the_images=per_image,
    divided_by_all_pixels=lambda a, b, k: hits(a, b, k)[0] / int((b != 255).sum()),
    differing_pixels_for_common_ones=lambda a, b, k: 1 - looped_iou(a, b, k),
    count_for_share=lambda a, b, k: hits(a, b, k)[0],
    percent_for_share=lambda a, b, k: looped_iou(a, b, k) * 100,
    any_class_but_0=lambda a, b, k: looped_iou((a > 0).int(), torch.where(b == 255, 255, (b > 0).int()), 1),
    number_left_in_a_tensor=lambda a, b, k: torch.tensor(looped_iou(a, b, k)),
)
right("class_iou", looped_iou, iou_of_sets, masked_product, in_numpy)

# -- iou_over_classes ---------------------------------------------------------------------------


def rows_and_columns(m: Tensor) -> list[tuple[int, int, int]]:
    """(right, row, column) of every class."""
    table, c = m.tolist(), len(m)
    return [(table[k][k], sum(table[k]), sum(table[j][k] for j in range(c))) for k in range(c)]


def looped_mean(m: Tensor) -> float:
    each = [r / (row + col - r) for r, row, col in rows_and_columns(m) if row + col > 0]
    return sum(each) / len(each)


def nan_mean(m: Tensor) -> float:
    tp = m.diag().float()
    return torch.nanmean(tp / (m.sum(0) + m.sum(1) - tp)).item()


def numpy_mean(m: Tensor) -> float:
    table = m.numpy().astype(float)
    tp = np.diag(table)
    fp, fn = table.sum(0) - tp, table.sum(1) - tp
    seen = (tp + fp + fn) > 0
    return float(np.mean(tp[seen] / (tp + fp + fn)[seen]))


def per_class(m: Tensor) -> Tensor:
    tp = m.diag()
    return tp / (m.sum(0) + m.sum(1) - tp)


def of_seen(m: Tensor, ratio: Any) -> float:
    each = [ratio(*counts) for counts in rows_and_columns(m) if counts[1] + counts[2] > 0]
    return float(np.mean(each))


wrong(
    "iou_over_classes",
    absent_class_counted_as_0=lambda m: (
        (m.diag() / (m.sum(0) + m.sum(1) - m.diag()).clamp(min=1)).mean().item()
    ),
    absent_class_counted_as_1=lambda m: per_class(m).nan_to_num(1).mean().item(),
    false_alarms_of_absent_classes_left_out=lambda m: per_class(m)[m.sum(1) > 0].mean().item(),
    classes_never_predicted_left_out=lambda m: per_class(m)[m.sum(0) > 0].mean().item(),
    recall_for_IoU=lambda m: of_seen(m, lambda r, row, col: r / row if row else 0.0),
    precision_for_IoU=lambda m: of_seen(m, lambda r, row, col: r / col if col else 0.0),
    recall_of_the_classes_that_are_there=lambda m: (m.diag() / m.sum(dim=1)).nanmean().item(),
    precision_of_the_classes_predicted=lambda m: (m.diag() / m.sum(dim=0)).nanmean().item(),
    intersection_counted_twice=lambda m: of_seen(m, lambda r, row, col: r / (row + col)),
    Dice_for_IoU=lambda m: of_seen(m, lambda r, row, col: 2 * r / (row + col)),
    pixel_accuracy_for_mean_IoU=lambda m: m.diag().sum().item() / m.sum().item(),
    one_division_for_all_classes=lambda m: (m.trace() / (2 * m.sum() - m.trace())).item(),
    weighted_by_the_pixels=lambda m: (m.sum(1) / m.sum() * per_class(m).nan_to_num(0)).sum().item(),
    rows_made_shares_first=lambda m: of_seen(
        m / m.sum(1, keepdim=True).clamp(min=1), lambda r, t, c: r / (t + c - r)
    ),
    all_pixels_but_the_right_ones_for_the_union=lambda m: of_seen(
        m, lambda r, _, __: r / (m.sum().item() - r)
    ),
    background_left_out=lambda m: per_class(m)[1:].nanmean().item(),
    sum_for_mean=lambda m: per_class(m).nansum().item(),
    percent_for_share=lambda m: 100 * numpy_mean(m),
    no_mean=per_class,
    number_left_in_a_tensor=lambda m: torch.nanmean(per_class(m)),
)
wrong("iou_over_classes", **{"0 / 0 in the mean": lambda m: per_class(m).mean().item()})
right("iou_over_classes", looped_mean, nan_mean, numpy_mean)

# -- pixel_term ---------------------------------------------------------------------------------


def terms(z: Tensor, v: Tensor, t: float, **options: Any) -> Tensor:
    """kl_div's own numbers, [B, C, H, W] unless reduced."""
    return F.kl_div(F.log_softmax(z / t, 1), F.softmax(v.detach() / t, 1), **{"reduction": "none"} | options)


def as_images(z: Tensor, v: Tensor, m: Tensor, t: float) -> Tensor:
    """Each pixel that counts is a row of a batch, as in lesson 05."""
    z, v = (x.permute(0, 2, 3, 1)[m != 255] for x in (z, v.detach()))
    return F.kl_div((z / t).log_softmax(-1), (v / t).softmax(-1), reduction="batchmean") * t * t


def weighted(z: Tensor, v: Tensor, m: Tensor, t: float) -> Tensor:
    keep = (m < 255).float()
    return (terms(z, v, t).sum(1) * keep).sum() / keep.sum() * t**2


def minus_entropy(z: Tensor, v: Tensor, m: Tensor, t: float) -> Tensor:
    with torch.no_grad():
        p = (v / t).softmax(1)
    cross = F.cross_entropy(z / t, p, reduction="none") - torch.special.entr(p).sum(1)
    return torch.masked_select(cross, m.ne(255)).mean() * t**2


def counted(z: Tensor, v: Tensor, m: Tensor, t: float) -> Tensor:
    return terms(z, v, t).sum(1)[m != 255]


def along(dim: int, z: Tensor, v: Tensor, m: Tensor, t: float) -> Tensor:
    found = F.kl_div((z / t).log_softmax(dim), (v / t).softmax(dim), reduction="none").sum(1)
    return found[m != 255].mean() * t**2


def logs_of_zero(z: Tensor, v: Tensor, m: Tensor, t: float) -> Tensor:
    p, q = F.softmax(v.detach() / t, 1), F.softmax(z / t, 1)
    return t**2 * (p * (p.log() - q.log())).sum(1)[m != 255].mean()


def teacher_kept(z: Tensor, v: Tensor, m: Tensor, t: float) -> Tensor:
    log_q, log_p = F.log_softmax(z / t, 1), F.log_softmax(v / t, 1)
    return t**2 * (log_p.exp() * (log_p - log_q)).sum(1)[m != 255].mean()


def scaled_in_place(z: Tensor, v: Tensor, m: Tensor, t: float) -> Tensor:
    v.div_(t)
    return (
        t**2
        * F.kl_div((z / t).log_softmax(1), v.detach().softmax(1), reduction="none").sum(1)[m != 255].mean()
    )


def rows_in_memory(z: Tensor, v: Tensor, m: Tensor, t: float) -> Tensor:
    z, v = (x.flatten().unflatten(0, (-1, x.shape[1]))[m.flatten() != 255] for x in (z, v.detach()))
    return F.kl_div((z / t).log_softmax(-1), (v / t).softmax(-1), reduction="batchmean") * t * t


def divided_late(z: Tensor, v: Tensor, m: Tensor, t: float) -> Tensor:
    log_q, log_p = F.log_softmax(z, 1) / t, F.log_softmax(v.detach(), 1) / t
    return t**2 * F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)[m != 255].mean()


wrong(
    "pixel_term",
    reshaped_before_the_classes_were_moved=rows_in_memory,
    softened_after_the_softmax=divided_late,
    background_left_out=lambda z, v, m, t: t**2 * terms(z, v, t).sum(1)[(m != 255) & (m > 0)].mean(),
    probabilities_for_a_target_of_logs=lambda z, v, m, t: (
        t**2 * terms(z, v, t, log_target=True).sum(1)[m != 255].mean()
    ),
    classes_not_summed=lambda z, v, m, t: t**2 * terms(z, v, t)[m != 255].mean(),
    T_squared_missing=lambda z, v, m, t: counted(z, v, m, t).mean(),
    T_for_T_squared=lambda z, v, m, t: counted(z, v, m, t).mean() * t,
    divided_by_the_images_alone=lambda z, v, m, t: t**2 * counted(z, v, m, t).sum() / z.shape[0],
    divided_by_all_pixels=lambda z, v, m, t: t**2 * (terms(z, v, t).sum(1) * (m != 255)).mean(),
    ignored_pixels_inside=lambda z, v, m, t: t**2 * terms(z, v, t).sum(1).mean(),
    ignored_pixels_in_the_sum=lambda z, v, m, t: t**2 * terms(z, v, t, reduction="sum") / (m != 255).sum(),
    ignored_pixels_alone=lambda z, v, m, t: t**2 * terms(z, v, t).sum(1)[m == 255].mean(),
    divided_by_the_classes_too=lambda z, v, m, t: t**2 * terms(z, v, t).permute(0, 2, 3, 1)[m != 255].mean(),
    sum_for_mean=lambda z, v, m, t: t**2 * counted(z, v, m, t).sum(),
    KL_sides_swapped=lambda z, v, m, t: t**2 * terms(v, z, t).sum(1)[m != 255].mean(),
    softmax_along_the_width=lambda z, v, m, t: along(-1, z, v, m, t),
    softmax_along_the_height=lambda z, v, m, t: along(-2, z, v, m, t),
    softmax_along_the_images=lambda z, v, m, t: along(0, z, v, m, t),
    teacher_not_softened=lambda z, v, m, t: as_images(z, v * t, m, t),
    nobody_softened=lambda z, v, m, t: as_images(z, v, m, 1.0) * t**2,
    log_of_a_probability_that_is_0=logs_of_zero,
    masks_for_the_teacher=lambda z, v, m, t: F.nll_loss(F.log_softmax(z, 1), m, ignore_index=255),
    teacher_trained_as_well=teacher_kept,
    gradient_cut=lambda z, v, m, t: weighted(z, v, m, t).detach(),
    inputs_changed=scaled_in_place,
    wrong_shape=lambda z, v, m, t: teacher_kept(z, v, m, t).reshape(1),
)
wrong(
    "pixel_term",
    **{
        "divided by the images alone, ignored pixels inside": lambda z, v, m, t: (
            t**2 * terms(z, v, t, reduction="batchmean")
        ),
        "sum for mean, ignored pixels inside": lambda z, v, m, t: t**2 * terms(z, v, t, reduction="sum"),
        "labels' term added": lambda z, v, m, t: (
            weighted(z, v, m, t) + F.nll_loss(F.log_softmax(z, 1), m, ignore_index=255)
        ),
        "divided by the classes too, ignored pixels inside": lambda z, v, m, t: (
            t**2 * terms(z, v, t, reduction="mean")
        ),
        "mean of the images' means": lambda z, v, m, t: (
            sum(as_images(z[n : n + 1], v[n : n + 1], m[n : n + 1], t) for n in range(len(z))) / len(z)
        ),
        "cross-entropy for KL": lambda z, v, m, t: (
            t**2 * F.cross_entropy(z / t, (v / t).softmax(1), reduction="none")[m != 255].mean()
        ),
    },
)
right("pixel_term", as_images, weighted, minus_entropy)

# -- precision_recall_at ------------------------------------------------------------------------


def looped_point(p: Tensor, y: Tensor, t: float) -> tuple[float, float]:
    tp = fp = fn = 0
    for score, true in zip(p.tolist(), y.tolist(), strict=True):
        tp += score >= t and true
        fp += score >= t and not true
        fn += score < t and true
    return (tp / (tp + fp) if tp + fp else 1.0), tp / (tp + fn)


def numpy_point(p: Tensor, y: Tensor, t: float) -> list[Any]:
    called = p.numpy() >= t
    precision = y.numpy()[called].mean() if called.any() else 1
    return [precision, called[y.numpy()].mean()]


def swapped(p: Tensor, y: Tensor, t: float) -> tuple[float, float]:
    precision, recall = looped_point(p, y, t)
    return recall, precision


def above(p: Tensor, y: Tensor, t: float) -> tuple[float, float]:
    called = p > t
    tp = (called & y).sum().item()
    return tp / called.sum().item() if called.any() else 1.0, tp / y.sum().item()


def tensor_division(p: Tensor, y: Tensor, t: float) -> tuple[float, float]:
    tp = ((p >= t) & y).sum()
    return (tp / (p >= t).sum()).item(), (tp / y.sum()).item()


def guarded(p: Tensor, y: Tensor, t: float) -> tuple[float, float]:
    tp = ((p >= t) & y).sum()
    return (tp / (p >= t).sum().clamp(min=1)).item(), (tp / y.sum()).item()


def guarded_by_the_hits(p: Tensor, y: Tensor, t: float) -> tuple[float, float]:
    tp = ((p >= t) & y).sum().item()
    return (tp / (p >= t).sum().item() if tp > 0 else 1.0), tp / y.sum().item()


def wrong_false_positives(p: Tensor, y: Tensor, t: float) -> tuple[float, float]:
    called = p >= t
    tp, fp, fn = (called & y).sum(), (~called & y).sum(), (~called & y).sum()
    return (tp / (tp + fp)).item(), (tp / (tp + fn)).item()


def wrong_misses(p: Tensor, y: Tensor, t: float) -> tuple[float, float]:
    precision = looped_point(p, y, t)[0]
    return precision, precision


def right_share(p: Tensor, y: Tensor, t: float) -> float:
    return ((p >= t) == y).float().mean().item()


wrong(
    "precision_recall_at",
    below_the_threshold=lambda p, y, t: looped_point(-p, y, -t + 1 / 512),
    threshold_ignored=lambda p, y, t: looped_point(p, y, 0.5),
    precision_1_where_nothing_called_is_right=guarded_by_the_hits,
    recall_1_where_nothing_is_called=lambda p, y, t: looped_point(p, y, t) if max(p) >= t else (1.0, 1.0),
    all_that_were_called_for_recall=lambda p, y, t: (
        looped_point(p, y, t)[0],
        (sum(p >= t) / sum(y)).item(),
    ),
    rightly_left_pixels_counted_too=lambda p, y, t: (
        ((p >= t) == y).sum().item() / (p >= t).sum().item() if (p >= t).any() else 1.0,
        ((p >= t) == y).sum().item() / y.sum().item(),
    ),
    precision_and_recall_swapped=swapped,
    recall_for_precision=wrong_false_positives,
    precision_for_recall=wrong_misses,
    precision_0_where_nothing_is_called=guarded,
    accuracy_for_precision=lambda p, y, t: (right_share(p, y, t), looped_point(p, y, t)[1]),
    accuracy_for_recall=lambda p, y, t: (looped_point(p, y, t)[0], right_share(p, y, t)),
    false_alarms_and_misses=lambda p, y, t: tuple(1 - x for x in looped_point(p, y, t)),
    divided_by_all_pixels=lambda p, y, t: (float(((p >= t) & y).sum()) / len(p),) * 2,
    IoU_for_both=lambda p, y, t: (float(((p >= t) & y).sum() / ((p >= t) | y).sum()),) * 2,
    percent_for_share=lambda p, y, t: tuple(100 * x for x in looped_point(p, y, t)),
    number_left_in_a_tensor=lambda p, y, t: tuple(torch.tensor(x) for x in looped_point(p, y, t)),
    wrong_type=lambda p, y, t: torch.tensor(looped_point(p, y, t)),
    wrong_length=lambda p, y, t: (*looped_point(p, y, t), 0.5),
)
wrong(
    "precision_recall_at",
    **{"> for >=": above, "0 / 0 where nothing is called": tensor_division},
)
right("precision_recall_at", looped_point, numpy_point)
