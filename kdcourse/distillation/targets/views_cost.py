"""Compute when stored views of the images cost less than a teacher that runs on the fly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from kdcourse.errors import ArgumentError


@dataclass(frozen=True)
class ViewsCost:
    """Hold the seconds that both ways of training with augmentation take, as `views_cost` returns them."""

    stored: float
    on_the_fly: float

    @property
    def cheaper(self) -> Literal["stored", "on the fly"]:
        """Return the faster way; ``stored`` if both take the same time, since stored views can be reused."""
        return "stored" if self.stored <= self.on_the_fly else "on the fly"

    @property
    def ratio(self) -> float:
        """Return the time on the fly divided by the time with stored views."""
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

    K stored views cost K forward passes of the teacher over all images, once, and then each student's epochs. On the
    fly, every epoch of every student costs another forward pass of the teacher over all images::

        stored     = min(K, epochs) * (teacher_pass + storing) + students * epochs * student_epoch
        on the fly = students * epochs * (on_the_fly_pass + student_epoch)

    So stored views are cheaper if views are used more than once: in several epochs (K < epochs) or by several students
    (students > 1). With K = epochs, one student and no cost of storing, both ways cost the same and show the same
    images. On the fly is cheaper if storing costs more than it saves, or if the teacher runs faster during training
    (``on_the_fly_pass``, for example in bfloat16). The effect of K on accuracy isn't included: fewer views are fewer
    different images, and the effect must be measured (``python -m benchmarks stored_views``).

    Args:
        teacher_pass: seconds that the teacher takes for one view of all images.
        student_epoch: seconds of one epoch of a student, with its soft targets available.
        views: K, at least 1.
        epochs: epochs per student, at least 1; of more views than epochs, the rest is never shown and not computed.
        students: number of students that share the stored views.
        storing: seconds to write one view to disk and read it back.
        on_the_fly_pass: seconds of a pass during training, if not ``teacher_pass``.

    Raises:
        ArgumentError: a count below 1, seconds that are negative or not finite, a ``student_epoch`` of 0.
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
