"""Compute when stored views of the images cost less than a teacher that runs on the fly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from kdcourse.errors import ArgumentError


@dataclass(frozen=True)
class ViewsCost:
    """Hold the seconds that both ways of training with augmentation take; made by `views_cost`."""

    stored: float
    on_the_fly: float

    @property
    def cheaper(self) -> Literal["stored", "on the fly"]:
        """Return the way that takes less time; stored views where both take the same, since they can be used again."""
        return "stored" if self.stored <= self.on_the_fly else "on the fly"

    @property
    def ratio(self) -> float:
        """Return the seconds on the fly over those of stored views."""
        return self.on_the_fly / self.stored


def views_cost(
    teacher_pass: float,
    student_epoch: float,
    *,
    views: int,
    epochs: int,
    students: int = 1,
    storing: float = 0.0,
    on_the_fly_pass: float | None = None,
) -> ViewsCost:
    """Compute the cost of K stored views, and of a teacher that runs on every batch.

    K stored views cost K passes of the teacher, whatever follows; then each student's epochs. On the fly,
    every epoch of every student brings a pass of its own along::

        stored     = min(K, epochs) * (teacher_pass + storing) + students * epochs * student_epoch
        on the fly = students * epochs * (on_the_fly_pass + student_epoch)

    So stored views win whenever some view is met twice: by another epoch (K < epochs) or another
    student (students > 1). With K = epochs, one student and nothing to pay for storing, both cost the same
    and show the same images. The other way wins where keeping them costs more than they save, or where
    the teacher can run more cheaply during training (``on_the_fly_pass``, in bfloat16 say). What K does to
    accuracy isn't in here: fewer views are fewer different images, and only a measurement tells
    (``python -m benchmarks stored_views``).

    Args:
        teacher_pass: seconds that the teacher takes for one view of all images.
        student_epoch: seconds of a student's epoch, its soft targets at hand.
        views: K, at least 1.
        epochs: of every student, at least 1; views beyond them are never shown and not computed.
        students: that share the stored views.
        storing: seconds to write one view to disk and read it back.
        on_the_fly_pass: seconds of a pass during training, where it isn't ``teacher_pass``.

    Raises:
        ArgumentError: a count below 1, seconds that are negative or not finite, an epoch of no time.
    """
    counts = {"views": views, "epochs": epochs, "students": students}
    for name, count in counts.items():
        if count < 1:
            raise ArgumentError(f"{name} must be at least 1; found {count}.")
    per_pass = teacher_pass if on_the_fly_pass is None else on_the_fly_pass
    for name, seconds in (
        ("teacher_pass", teacher_pass),
        ("storing", storing),
        ("on_the_fly_pass", per_pass),
    ):
        if not 0 <= seconds < math.inf:
            raise ArgumentError(f"{name} is a number of seconds, 0 or more; found {seconds}.")
    if not 0 < student_epoch < math.inf:
        raise ArgumentError(f"student_epoch is a number of seconds above 0; found {student_epoch}.")
    training = students * epochs * student_epoch
    return ViewsCost(
        stored=min(views, epochs) * (teacher_pass + storing) + training,
        on_the_fly=students * epochs * per_pass + training,
    )
