"""Draw the figures of a run's report from its outcome."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from kdcourse import evaluation, figures
from kdcourse.data import SegmentationDataset
from kdcourse.runs.run import Outcome
from kdcourse.training import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 5  # images in the gallery of soft targets
_MASKS_SHOWN = 10


def report_figures(outcome: Outcome) -> dict[str, Figure]:
    """Return figures by name, in the order in which the report shows them."""
    if isinstance(outcome.data, SegmentationDataset):
        return _segmentation_figures(outcome, outcome.data)
    data, logits, rows = outcome.data, outcome.test_logits, outcome.results["models"]
    student = logits[f"distilled-seed{rows['distilled']['runs'][0]['seed']}"]
    plain = logits[f"plain-seed{rows['plain']['runs'][0]['seed']}"]
    drawn = {
        "training_curves": figures.training_curves(
            {f"{kind} student": histories for kind, histories in outcome.histories.items()}
        )
    }
    recorded = outcome.results["recorded"]
    if recorded:
        drawn["recorded_curves"] = figures.training_curves(
            {f"{kind} student": _histories(recorded["models"][kind]) for kind in ("plain", "distilled")}
        )
    drawn["accuracy_against_cost"] = figures.accuracy_against_cost([_point(row) for row in rows.values()])
    drawn["reliability_diagram"] = figures.reliability_diagram(
        {
            name: evaluation.reliability(answer, data.test.labels)
            for name, answer in (
                ("ensemble", logits["ensemble"]),
                ("plain student", plain),
                ("distilled student", student),
            )
        }
    )
    unsure = _least_confident(logits["ensemble"], data.test.labels)
    drawn["soft_target_gallery"] = figures.soft_target_gallery(
        data.test.images[unsure], logits["ensemble"][unsure], data.test.labels[unsure], data.classes
    )
    if bool((logits["ensemble"].argmax(1) != student.argmax(1)).any()):
        drawn["disagreements"] = figures.disagreements(
            data.test.images, data.test.labels, logits["ensemble"], student, data.classes
        )
    return drawn


def _segmentation_figures(outcome: Outcome, data: SegmentationDataset) -> dict[str, Figure]:
    """Return the figures of a report on segmentation."""
    rows, recorded = outcome.results["models"], outcome.results["recorded"]
    first = {kind: f"{kind}-seed{rows[kind]['runs'][0]['seed']}" for kind in ("plain", "distilled")}
    names = {"ensemble": "ensemble"} | {f"{kind} student": name for kind, name in first.items()}
    scores = {shown: outcome.test_scores[name] for shown, name in names.items()}
    drawn = {
        "segmentation_curves": figures.segmentation_curves(
            {f"{kind} student": histories for kind, histories in outcome.histories.items()}
        )
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
    drawn["accuracy_against_cost"] = figures.accuracy_against_cost(
        [_point(row) for row in rows.values()], score="mean IoU"
    )
    drawn["reliability_diagram"] = figures.reliability_diagram(
        {shown: found.reliability for shown, found in scores.items()}, unit="pixels"
    )
    return drawn


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
        interval=(max(0.0, interval[0]), min(1.0, interval[1])) if interval else None,
        role=row["role"],
    )


def _histories(row: dict[str, Any]) -> list[History]:
    return [History.from_json(json.dumps(run["history"])) for run in row["runs"]]
