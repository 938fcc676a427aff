"""Describe the course's two tasks: their data, teachers, trials and recorded students."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kdcourse import evaluation, training
from kdcourse.data import Dataset, SegmentationDataset, fashion_mnist, garment_scenes
from kdcourse.distillation import Ensemble, SoftTargets, soft_targets
from kdcourse.errors import ArgumentError
from kdcourse.files import shipped
from kdcourse.runs import table, teachers, trials
from kdcourse.runs.students import LIVE, StudentRecipe

AnyDataset = Dataset | SegmentationDataset
Scores = dict[str, float | None]

# Teachers see fresh scenes in every epoch, none of them a scene that students see.
TEACHER_SCENES = (4000, 200, 200)
TEACHER_SEED = 1
STUDENT_SCENES = (2000, 200, 400)


@dataclass(frozen=True)
class Task:
    """Hold one task's data, recipes, folders and metric.

    ``kind`` is its name among methods, ``labels`` or ``masks``. ``teachers_folder`` and ``students_folder`` are in the
    course's own ``data``. ``metric`` is the key in a run's ``test`` of the metric that models are compared by,
    ``metric_name`` its name in reports. ``live`` is the recorded search's choice, with fewer epochs, so that it trains
    in minutes.
    """

    name: str
    kind: str
    metric: str
    metric_name: str
    teacher_data: Callable[[], AnyDataset]
    student_data: Callable[[], AnyDataset]
    teacher_recipes: Sequence[teachers.TeacherRecipe]
    trials: Sequence[trials.Trial]
    recorded: Mapping[str, StudentRecipe]
    live: StudentRecipe
    teachers_folder: str
    students_folder: str
    record_command: str

    @property
    def students(self) -> Path:
        """Return the folder of the recorded students."""
        return shipped(self.students_folder)

    def ensemble(self, data: Any) -> Ensemble:
        """Return the ensemble of the shipped teachers."""
        found = teachers.load_teachers(shipped(self.teachers_folder), data)
        return Ensemble([model for _, model, _ in found])


CLASSIFICATION = Task(
    name="classification",
    kind="labels",
    metric="accuracy",
    metric_name="accuracy",
    teacher_data=fashion_mnist,
    student_data=fashion_mnist,
    teacher_recipes=teachers.RECIPES,
    trials=trials.TRIALS,
    recorded=trials.RECORDED,
    live=LIVE,
    teachers_folder="teachers",
    students_folder="students",
    record_command="kdcourse students record",
)

SEGMENTATION = Task(
    name="segmentation",
    kind="masks",
    metric="iou",
    metric_name="mean IoU",
    teacher_data=partial(garment_scenes, scenes=TEACHER_SCENES, endless=True, seed=TEACHER_SEED),
    student_data=partial(garment_scenes, scenes=STUDENT_SCENES),
    teacher_recipes=teachers.SEGMENTATION_RECIPES,
    trials=trials.SEGMENTATION_TRIALS,
    recorded=trials.SEGMENTATION_RECORDED,
    live=trials.SEGMENTATION_RECORDED["distilled"],
    teachers_folder="segmentation-teachers",
    students_folder="segmentation-students",
    record_command="kdcourse students record --task segmentation",
)


def task_named(name: str) -> Task:
    """Return the task of that name.

    Raises:
        ArgumentError: there is no such task.
    """
    known = {task.name: task for task in (CLASSIFICATION, SEGMENTATION)}
    if name not in known:
        raise ArgumentError(f"--task must be one of {', '.join(known)}; found {name!r}.")
    return known[name]


def task_of(data: AnyDataset) -> Task:
    """Return the task of these data."""
    return SEGMENTATION if isinstance(data, SegmentationDataset) else CLASSIFICATION


def targets_for(
    recipe: StudentRecipe, teacher: nn.Module, data: AnyDataset, *, progress: bool = True
) -> SoftTargets:
    """Return the soft targets that a recipe needs. For classification they are computed once, then read from disk."""
    views = recipe.views
    weight = next(teacher.parameters())
    precision = training.usual_precision(weight.device)
    return soft_targets(teacher, data.train, data, views=views, precision=precision, progress=progress)


def scorer(teacher: nn.Module, data: AnyDataset) -> Callable[[nn.Module], Scores]:
    """Return a function that scores a model on the test split; the teacher's predictions are computed once."""
    if isinstance(data, SegmentationDataset):
        scenes = data

        def predicted(model: nn.Module) -> tuple[evaluation.SegmentationScores, Tensor]:
            return evaluation.evaluate_with_masks(model, scenes.test, scenes)

        of_teacher = predicted(teacher)

        def score_masks(model: nn.Module) -> Scores:
            found, masks = of_teacher if model is teacher else predicted(model)
            return table.mask_scores(found, masks, of_teacher[1])

        return score_masks
    images = data
    teacher_logits = evaluation.predict(teacher, images.test, images)

    def score_labels(model: nn.Module) -> Scores:
        own = teacher_logits if model is teacher else evaluation.predict(model, images.test, images)
        return table.scores(own, images.test.labels, teacher_logits)

    return score_labels
