"""The record of a training run."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class EpochRecord:
    """Hold one epoch: losses in the objective's unit (nats), accuracies 0 to 1, wall-clock seconds.

    Training figures are means over the epoch's batches, as the model changed; validation figures
    are of the model at the epoch's end, by cross-entropy. They are NaN-free: an epoch that was not
    validated holds ``None``. For segmentation accuracy is the share of right pixels, and ``train_iou`` and
    ``validation_iou`` are mean intersections over union; for images with one label they are ``None``.
    ``parts`` holds the mean of each named part of the objective, such as ``{"labels": 0.41, "kd": 0.97}``; parts
    aren't weighted.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    train_iou: float | None = None
    validation_iou: float | None = None
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def metric(self) -> float:
        """Return the validation figure that epochs are compared by, accuracy or mean IoU; -inf where there is none."""
        found = self.validation_accuracy if self.validation_iou is None else self.validation_iou
        return -math.inf if found is None else found


@dataclass(frozen=True)
class MultiLabelRecord(EpochRecord):
    """Hold one epoch of a network that gives any number of labels per image.

    Accuracy is the share of right answers, a yes or no for each image and class, high wherever labels are rare; F1 is
    the mean over the classes, 0 to 1.
    """

    train_f1: float | None = None
    validation_f1: float | None = None

    @property
    def metric(self) -> float:
        """Return the mean F1 on the validation split; -inf where there is none."""
        return -math.inf if self.validation_f1 is None else self.validation_f1


@dataclass
class History:
    """Hold the epochs of one run and the settings that made them.

    Of a run that was prolonged, ``settings["prolonged"]`` lists the epochs at which it had ended (see
    `kdcourse.training.fit`).
    """

    settings: dict[str, Any]
    epochs: list[EpochRecord] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.epochs)

    def column(self, name: str) -> list[Any]:
        """Return one quantity over the epochs, such as ``history.column("train_loss")``."""
        return [getattr(record, name) for record in self.epochs]

    def part(self, name: str) -> list[float | None]:
        """Return one named part of the objective over the epochs; ``None`` where an epoch has none."""
        return [record.parts.get(name) for record in self.epochs]

    @property
    def last(self) -> EpochRecord:
        """Return the final epoch."""
        return self.epochs[-1]

    @property
    def kept(self) -> EpochRecord:
        """Return the epoch whose weights the network holds: the last one, or the best so far with ``keep="best"``."""
        if self.settings.get("keep", "last") == "last":
            return self.last
        return max(self.epochs, key=lambda record: record.metric)  # the first of equals

    def to_json(self) -> str:
        """Return settings and epochs as JSON."""
        return json.dumps({"settings": self.settings, "epochs": [asdict(record) for record in self.epochs]})

    @classmethod
    def from_json(cls, text: str) -> History:
        """Read what `to_json` returned."""
        content = json.loads(text)
        return cls(content["settings"], [_record(**record) for record in content["epochs"]])


def _record(**figures: Any) -> EpochRecord:
    return (MultiLabelRecord if "train_f1" in figures else EpochRecord)(**figures)
