"""Make the rows of a results table, and compare them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from kdcourse import evaluation


def compare(models: Mapping[str, Any], metric: str = "accuracy") -> dict[str, Any]:
    """Compare distilled and plain students by seed; compute gap recovered, and how much smaller and faster they are.

    Args:
        models: rows by name, see `row`; "plain", "distilled" and "ensemble" are needed. Where there is "labelled" (the
            true labels of the images that distilled students saw without), it is compared with "distilled" as well.
        metric: metric to compare by: ``accuracy``, or ``iou`` for masks.
    """
    plain = [run["test"][metric] for run in models["plain"]["runs"]]
    distilled = [run["test"][metric] for run in models["distilled"]["runs"]]
    teacher = models["ensemble"]["mean"][metric]
    comparison: dict[str, Any] = {
        "difference": asdict(evaluation.paired_difference(distilled, plain)) if len(plain) > 1 else None,
        "gap_recovered": asdict(evaluation.gap_recovered(plain, distilled, teacher)),
    }
    if "labelled" in models and len(plain) > 1:
        labelled = [run["test"][metric] for run in models["labelled"]["runs"]]
        comparison["against_labels"] = asdict(evaluation.paired_difference(distilled, labelled))
    if "cost" in models["ensemble"]:
        big, small = (evaluation.Cost(**models[name]["cost"]) for name in ("ensemble", "distilled"))
        times = evaluation.compare_cost(big, small)
        comparison["times_smaller"] = {
            "parameters": times.times_fewer_parameters,
            "bytes": times.times_smaller,
            "macs": times.times_fewer_macs,
        }
        comparison["times_faster"] = {"latency": times.times_faster, "throughput": times.times_throughput}
    return comparison


def scores(logits: Tensor, labels: Tensor, teacher_logits: Tensor | None) -> dict[str, float | None]:
    """Return the metrics of one classifier that reports keep; logits [N, C], labels [N]."""
    found = evaluation.evaluate(logits, labels, teacher_logits)
    return {
        "accuracy": found.accuracy,
        "nll": found.negative_log_likelihood,
        "ece": found.expected_calibration_error,
        "agreement": found.agreement,
        "kl_to_teacher": found.kl_to_teacher,
    }


def mask_scores(
    found: evaluation.SegmentationScores, masks: Tensor, teacher_masks: Tensor
) -> dict[str, float | None]:
    """Return the metrics of one segmentation model that reports keep; masks [N, H, W], its own and the teacher's."""
    return {
        "iou": found.mean_iou,
        "accuracy": found.pixel_accuracy,
        "boundary_iou": found.boundary_iou,
        "dice": found.dice,
        "average_precision": found.average_precision,
        "nll": found.negative_log_likelihood,
        "ece": found.expected_calibration_error,
        "agreement": evaluation.mask_agreement(masks, teacher_masks),
    }


def row(
    label: str,
    role: str,
    model: str,
    runs: list[dict[str, Any]],
    images: int,
    metric: str = "accuracy",
) -> dict[str, Any]:
    """Return one model's row of the results: its runs, their mean and the metric's 95 % interval.

    The interval is over seeds (Student's t) where there are several; else over the sampling of the test set's
    ``images`` (Wilson), which is defined for accuracy alone.
    """
    keys = runs[0]["test"].keys()
    values = {key: [run["test"][key] for run in runs] for key in keys}
    mean = {key: None if None in column else sum(column) / len(column) for key, column in values.items()}
    spread: evaluation.Interval | None = None
    if len(runs) > 1:
        spread = evaluation.mean_interval(values[metric])
    elif metric == "accuracy":
        spread = evaluation.wilson_interval(round(values["accuracy"][0] * images), images)
    return {
        "label": label, "role": role, "model": model, "runs": runs, "mean": mean,
        "interval": {metric: [spread.low, spread.high] if spread else None},
    }  # fmt: skip
