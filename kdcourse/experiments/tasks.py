"""The course's two tasks, and what differs between them where teachers and results are recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kdcourse import evaluation, training
from kdcourse.data import Dataset, SegmentationDataset, fashion_mnist, garment_scenes
from kdcourse.distillation import Ensemble, SoftTargets, soft_targets, views_shown
from kdcourse.errors import ArgumentError
from kdcourse.experiments import table, teachers, trials
from kdcourse.experiments.students import LIVE, StudentRecipe
from kdcourse.files import shipped

AnyDataset = Dataset | SegmentationDataset
Scores = dict[str, float | None]

# Scenes that students train on. A teacher has seen all of `garment_scenes`; a student's share is what a laptop
# can go through in a minute, and both kinds of student get the same.
STUDENT_SCENES = (2000, 500, 500)


@dataclass(frozen=True)
class Task:
    """One task: its pictures, recipes, folders and the figure that counts.

    ``teachers_folder`` and ``students_folder`` lie in the course's own ``data``. ``metric`` names the figure of a
    run's ``test`` that models are compared by, ``metric_name`` is what readers call it. ``live`` is the recorded
    search's choice, cut to fit in minutes.
    """

    name: str
    metric: str
    metric_name: str
    teacher_data: Callable[[], AnyDataset]
    student_data: Callable[[], AnyDataset]
    teacher_recipes: Sequence[teachers.Recipe]
    trials: Sequence[trials.Trial]
    recorded: Mapping[str, StudentRecipe]
    live: StudentRecipe
    teachers_folder: str
    students_folder: str
    record_command: str

    @property
    def students(self) -> Path:
        """Where the recorded students lie."""
        return shipped(self.students_folder)

    def ensemble(self, data: Any) -> Ensemble:
        """The shipped teachers as one."""
        found = teachers.load_teachers(shipped(self.teachers_folder), data)
        return Ensemble([model for _, model, _ in found])


CLASSIFICATION = Task(
    name="classification",
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
    metric="iou",
    metric_name="mean IoU",
    teacher_data=garment_scenes,
    student_data=lambda: garment_scenes(scenes=STUDENT_SCENES),
    teacher_recipes=teachers.SEGMENTATION_RECIPES,
    trials=trials.SEGMENTATION_TRIALS,
    recorded=trials.SEGMENTATION_RECORDED,
    live=trials.SEGMENTATION_RECORDED["distilled"],
    teachers_folder="segmentation-teachers",
    students_folder="segmentation-students",
    record_command="kdcourse students record --task segmentation",
)


def task_named(name: str) -> Task:
    """The task of that name.

    Raises:
        ArgumentError: there is none.
    """
    known = {task.name: task for task in (CLASSIFICATION, SEGMENTATION)}
    if name not in known:
        raise ArgumentError(f"--task must be one of {', '.join(known)}; found {name!r}.")
    return known[name]


def task_of(data: AnyDataset) -> Task:
    """The task that these pictures are for."""
    return SEGMENTATION if isinstance(data, SegmentationDataset) else CLASSIFICATION


def targets_for(
    recipe: StudentRecipe, teacher: nn.Module, data: AnyDataset, *, progress: bool = True
) -> SoftTargets:
    """What a recipe learns from. For one label a picture it is computed once, then read from disk."""
    views = views_shown(recipe.augmentation, recipe.views, 0, recipe.epochs)
    weight = next(teacher.parameters())
    precision = training.fastest(weight.device)
    return soft_targets(teacher, data.train, data, views=views, precision=precision, progress=progress)


def judge(teacher: nn.Module, data: AnyDataset) -> Callable[[nn.Module], Scores]:
    """What scores a model on the test split, agreement with ``teacher`` included; the teacher is asked once."""
    if isinstance(data, SegmentationDataset):
        scenes = data

        def ask(model: nn.Module) -> tuple[evaluation.SegmentationScores, Tensor]:
            return evaluation.evaluate_with_masks(model, scenes.test, scenes)

        of_teacher = ask(teacher)

        def of_masks(model: nn.Module) -> Scores:
            found, masks = of_teacher if model is teacher else ask(model)
            return table.mask_scores(found, masks, of_teacher[1])

        return of_masks
    pictures = data
    answers = evaluation.predict(teacher, pictures.test, pictures)

    def of_labels(model: nn.Module) -> Scores:
        own = answers if model is teacher else evaluation.predict(model, pictures.test, pictures)
        return table.scores(own, pictures.test.labels, answers)

    return of_labels
