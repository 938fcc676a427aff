"""Draw the figures of a run's report from its outcome."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from kdcourse import evaluation, figures
from kdcourse.data import Dataset, SegmentationDataset, Split
from kdcourse.runs.report import curve_name
from kdcourse.runs.run import Outcome
from kdcourse.runs.study import half
from kdcourse.training import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 5  # images in the gallery of soft targets
_MASKS_SHOWN = 10


def report_figures(outcome: Outcome) -> dict[str, Figure]:
    """Return figures by name, in the order in which the report shows them."""
    if isinstance(outcome.data, SegmentationDataset):
        return _segmentation_figures(outcome, outcome.data)
    data, logits, results = outcome.data, outcome.test_logits, outcome.results
    rows, recorded = results["models"], results["recorded"]
    students = {name: logits[f"{name}-seed{rows[name]['runs'][0]['seed']}"] for name in outcome.histories}
    drawn = {
        "accuracy_against_cost": figures.accuracy_against_cost([_point(row) for row in rows.values()]),
        **_curves(results),
    }
    if not results["labels"]:  # students of few labels and of all are trained for different numbers of epochs
        drawn["training_curves"] = figures.training_curves(
            {f"{kind} student": histories for kind, histories in outcome.histories.items()}
        )
    if recorded:
        drawn["recorded_curves"] = figures.training_curves(
            {f"{kind} student": _histories(recorded["models"][kind]) for kind in ("plain", "distilled")}
        )
    ensemble = {"ensemble": logits["ensemble"]} if "ensemble" in logits else {}
    named = ensemble | {rows[name]["label"]: answer for name, answer in students.items()}
    drawn["reliability_diagram"] = figures.reliability_diagram(
        {name: evaluation.reliability(answer, data.test.labels) for name, answer in named.items()}
    )
    shown, answers = (data.test, logits["ensemble"]) if ensemble else _answered(data)
    unsure = _least_confident(answers, shown.labels)
    drawn["soft_target_gallery"] = figures.soft_target_gallery(
        shown.images[unsure], answers[unsure], shown.labels[unsure], data.classes
    )
    if ensemble and bool((logits["ensemble"].argmax(1) != students["distilled"].argmax(1)).any()):
        drawn["disagreements"] = figures.disagreements(
            data.test.images, data.test.labels, logits["ensemble"], students["distilled"], data.classes
        )
    return drawn


def _segmentation_figures(outcome: Outcome, data: SegmentationDataset) -> dict[str, Figure]:
    """Return the figures of a report on segmentation."""
    rows, recorded = outcome.results["models"], outcome.results["recorded"]
    first = {kind: f"{kind}-seed{rows[kind]['runs'][0]['seed']}" for kind in ("plain", "distilled")}
    names = {"ensemble": "ensemble"} | {f"{kind} student": name for kind, name in first.items()}
    scores = {shown: outcome.test_scores[name] for shown, name in names.items()}
    drawn = {
        "accuracy_against_cost": figures.accuracy_against_cost(
            [_point(row) for row in rows.values()], score="mean IoU"
        ),
        **_curves(outcome.results),
        "segmentation_curves": figures.segmentation_curves(
            {f"{kind} student": histories for kind, histories in outcome.histories.items()}
        ),
    }
    if recorded:
        drawn["recorded_curves"] = figures.segmentation_curves(
            {f"{kind} student": _histories(recorded["models"][kind]) for kind in first}
        )
    some = slice(0, _MASKS_SHOWN)
    drawn["predicted_masks"] = figures.predicted_masks(
        data.test.images[some],
        data.test.masks[some],
        {shown: outcome.test_masks[name][some] for shown, name in names.items()},
        data.classes,
    )
    drawn["precision_recall_curves"] = figures.precision_recall_curves(
        {shown: found.precision_recall.micro for shown, found in scores.items()}
    )
    drawn["iou_bars"] = figures.iou_bars(
        {
            "ensemble": scores["ensemble"].iou_per_class,
            **{
                f"{kind} student": torch.stack(
                    [
                        outcome.test_scores[f"{kind}-seed{run['seed']}"].iou_per_class
                        for run in rows[kind]["runs"]
                    ]
                )
                for kind in first
            },
        },
        data.classes,
    )
    drawn["reliability_diagram"] = figures.reliability_diagram(
        {shown: found.reliability for shown, found in scores.items()}, unit="pixels"
    )
    return drawn


def _answered(data: Dataset) -> tuple[Split, torch.Tensor]:
    """Return the images that the teachers never saw, and their stored answers [N, C]."""
    return half.unseen_data(data).train, half.load_answers(data).logits.float()


def _curves(results: dict[str, Any]) -> dict[str, Figure]:
    """Return the figures of stored studies, with this run's results beside those that count images."""
    drawn = {}
    for name, study in results["studies"].items():
        lines = figures.study_points(study["lines"])
        beside: dict[str, list[figures.StudyPoint]] = {}
        if study["x"] == "images":
            for line, role, images in (
                ("true labels", "plain", "few"),
                ("true labels", "labelled", "images"),
                ("teachers' answers", "distilled", "images"),
            ):
                row = results["models"][role]
                [(metric, interval)] = row["interval"].items()
                point = figures.StudyPoint(results["labels"][images], row["mean"][metric], _inside(interval))
                beside.setdefault(line, []).append(point)
        drawn[curve_name(name)] = figures.study_curves(
            lines,
            x=study["x"],
            title=study["title"],
            teacher=study["teacher"],
            beside=beside,
            score=study["score"],
        )
    return drawn


def _inside(interval: Sequence[float] | None) -> tuple[float, float] | None:
    """Return an interval of a share, cut at 0 and 1."""
    return (max(0.0, interval[0]), min(1.0, interval[1])) if interval else None


def _least_confident(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return images of different classes that the ensemble gets right with the least confidence: int64 [K].

    Confident predictions look like labels; the least confident ones show what soft targets add.
    """
    probabilities = torch.softmax(logits, dim=1)
    entropy = torch.special.entr(probabilities).sum(1)
    entropy[logits.argmax(1) != labels] = -1
    best = [
        (float(entropy[members].max()), int(members[entropy[members].argmax()]))
        for label in labels.unique()
        for members in [(labels == label).nonzero().flatten()]
    ]
    chosen = sorted(best, reverse=True)[:_SHOWN]
    return torch.tensor([index for _, index in chosen])


def _point(row: dict[str, Any]) -> figures.CostPoint:
    [(metric, interval)] = row["interval"].items()
    return figures.CostPoint(
        label=row["label"],
        accuracy=row["mean"][metric],
        bytes=row["cost"]["bytes"],
        latency_ms=row["cost"]["latency_ms"],
        interval=_inside(interval),
        role=row["role"],
    )


def _histories(row: dict[str, Any]) -> list[History]:
    return [History.from_json(json.dumps(run["history"])) for run in row["runs"]]
