"""Let a learner choose the members of an ensemble."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets
from torch import Tensor

from kdcourse.errors import ArgumentError
from kdcourse.evaluation import member_scores
from kdcourse.widgets.base import WIDE, CourseWidget, row
from kdcourse.widgets.temperature import check_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_MOST_MEMBERS = 6  # of the front end, which is sent the scores of all their ensembles: 2 * 63


class EnsembleExplorer(CourseWidget):
    """Show the scores of an ensemble; see `ensemble_explorer`. Controls: ``boxes``, one per member; ``average``."""

    def __init__(
        self,
        member_logits: Tensor,
        labels: Tensor,
        classes: Sequence[str],
        names: Sequence[str] | None = None,
    ) -> None:
        self._scores = member_scores(member_logits, labels)
        if member_logits.shape[2] != len(classes):
            raise ArgumentError(
                f"member_logits has {member_logits.shape[2]} classes (its last axis); found {len(classes)} names. "
                "Pass the data set's own classes."
            )
        self._names = check_names(names, len(member_logits))
        self._logits, self._labels = member_logits, labels
        self.front = "ensemble" if len(member_logits) <= _MOST_MEMBERS else ""
        self.boxes = [
            ipywidgets.Checkbox(
                value=True,
                description=name,
                indent=False,
                layout=ipywidgets.Layout(
                    width="auto", margin="2px 1em 2px 2px"
                ),  # so that a label stands nearer to its own box than to the next one
            )
            for name in self._names
        ]
        self.average = ipywidgets.RadioButtons(
            options=[("mean of logits", "logits"), ("mean of probabilities", "probabilities")],
            value="logits",
            description="Average",
            style=WIDE,
        )
        super().__init__(
            "Ensemble explorer",
            "Ensemble explorer: an interactive widget that scores the ensemble of the teachers you tick.",
            [ipywidgets.HTML("Members of the ensemble"), row(*self.boxes), self.average],
        )
        for control in (*self.boxes, self.average):
            control.observe(self._changed, "value")
        self._describe()

    @property
    def chosen(self) -> tuple[int, ...]:
        """Return the positions of the ticked members."""
        return tuple(position for position, box in enumerate(self.boxes) if box.value)

    def state(self) -> dict[str, Any]:
        members = range(len(self._names))
        subsets = [chosen for size in members for chosen in itertools.combinations(members, size + 1)]
        ensembles = {}
        for average, chosen in itertools.product(("logits", "probabilities"), subsets):
            scores = member_scores(self._logits, self._labels, chosen, average)
            ensembles[f"{average} {' '.join(map(str, chosen))}"] = [scores.accuracy, scores.calibration_error]
        return {
            "names": self._names,
            "accuracy": self._scores.member_accuracy,
            "error": self._scores.member_calibration_error,
            "disagreement": self._scores.disagreement.tolist(),
            "ensembles": ensembles,
        }

    def figure(self) -> Figure:
        from kdcourse import figures

        chosen, average = self.chosen, self.average.value
        if chosen:
            self._scores = member_scores(self._logits, self._labels, chosen, average)
        return figures.ensemble_members(self._scores, self._names)

    def draw(self) -> None:
        super().draw()
        self._describe()

    def _changed(self, change: object) -> None:
        if self.chosen:
            self.redraw()
        else:
            self.say(
                "Tick at least one teacher: an ensemble needs a member. The figure shows the last choice."
            )

    def _describe(self) -> None:
        if not self.chosen:
            return
        scores = self._scores
        disagreement = (
            "A single teacher has no disagreement."
            if scores.mean_disagreement is None
            else f"Two of them differ on {100 * scores.mean_disagreement:.1f} % of the images on average."
        )
        self.say(
            f"{len(scores.chosen)} member{'s' * (len(scores.chosen) != 1)}: accuracy {100 * scores.accuracy:.2f} %, "
            f"calibration error (ECE) {100 * scores.calibration_error:.2f} points. {disagreement}"
        )


def ensemble_explorer(
    member_logits: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    names: Sequence[str] | None = None,
) -> EnsembleExplorer:
    """Return a widget that scores the ensemble of the ticked teachers: accuracy, calibration, disagreement.

    Args:
        member_logits: logits of M teachers for N images, floating [M, N, C].
        labels: true classes, int64 [N].
        classes: C names.
        names: M names of teachers; "teacher 1" and so on if left out.

    Raises:
        ArgumentError: shapes that don't fit together, labels out of range, logits that aren't
            finite.
    """
    return EnsembleExplorer(member_logits, labels, classes, names)
