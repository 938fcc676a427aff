"""The whole story in one call: teachers, ensemble, soft targets, students, test set, report."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import kdcourse
from kdcourse import data as data_room
from kdcourse import evaluation, models, training
from kdcourse.data import Dataset, SegmentationDataset
from kdcourse.distillation import Ensemble, SoftTargets, assert_trained
from kdcourse.errors import ArgumentError
from kdcourse.experiments import recorded, teachers
from kdcourse.experiments.students import StudentRecipe, train_student
from kdcourse.experiments.table import compare, mask_scores, row, scores
from kdcourse.experiments.tasks import AnyDataset, Task, targets_for, task_named
from kdcourse.files import shipped

Say = Callable[[str], None]
FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """What `kdcourse run` was asked to do; every field is an option of the command.

    ``teachers`` is ``shipped``, ``train``, or a folder of teachers trained earlier. ``folder`` names
    pictures of the user's own (for segmentation, a folder that holds ``images`` and ``masks``); ``None`` is
    Fashion-MNIST, or scenes of its garments. ``None`` for student, temperature, alpha or epochs takes the setting
    that the recorded search chose, of epochs as many as fit in minutes.
    """

    task: str = "classification"
    out: Path = Path("kdcourse-report")
    teachers: str = "shipped"
    student: str | None = None
    temperature: float | None = None
    alpha: float | None = None
    epochs: int | None = None
    seeds: Sequence[int] = (0, 1, 2)
    folder: Path | None = None
    size: int | None = None
    device: str = "auto"
    average: str = "logits"
    teacher_epochs: int | None = None
    progress: bool = True


@dataclass
class Outcome:
    """Everything a report needs: the numbers, and what the figures are drawn from.

    Of a classifier that is ``test_logits`` [N, C]; of a segmentation model, whose logits would fill the memory,
    ``test_scores`` and the masks that it predicts, ``test_masks`` [N, H, W].
    """

    results: dict[str, Any]
    data: AnyDataset
    test_logits: dict[str, Tensor] = field(default_factory=dict)
    test_masks: dict[str, Tensor] = field(default_factory=dict)
    test_scores: dict[str, evaluation.SegmentationScores] = field(default_factory=dict)
    histories: dict[str, list[training.History]] = field(default_factory=dict)


def run(settings: Settings, say: Say = print) -> Outcome:
    """Train, compare and measure, going on where an interrupted call with these settings stopped.

    Finished teachers and students lie in ``settings.out`` and are not trained twice.

    Returns:
        The `Outcome`; `kdcourse.experiments.report.write_report` turns it into files.

    Raises:
        KdcourseError: settings, pictures or stored files that can't be used, each saying what to do.
    """
    began = time.perf_counter()
    task = task_named(settings.task)
    _check(settings)
    place = training.placement.Placement(settings.device)
    data = _load_data(settings, task, say)
    recipe = _student_recipe(settings, task, data)
    precision = training.fastest(place.device)
    members = _teachers(settings, task, data, place.device, precision, say)
    ensemble = Ensemble([model for _, model, _ in members], average=settings.average).to(place.device)  # type: ignore[arg-type]
    assert_trained(ensemble, data.validation, data)

    say("\nSoft targets: the ensemble is asked once about every training picture.")
    targets = targets_for(recipe, ensemble, data, progress=settings.progress)
    say(f"  {len(targets.views)} view(s) of {len(targets):,} pictures, {targets.nbytes / 1e6:.1f} MB.")

    trained = _students(settings, recipe, data, targets, say)

    say("\nTest set: every model is asked once, after all choices were made.")
    outcome = _evaluate(settings, task, recipe, data, members, ensemble, trained, say)
    say("\nCost: weights, multiply-accumulates and time, measured on this machine.")
    _measure_cost(outcome, data, members, ensemble, trained["distilled"][0][1], settings.progress)
    rows = outcome.results["models"]
    outcome.results = {
        "format": FORMAT,
        "kdcourse": kdcourse.__version__,
        "made": {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "machine": _machine(place.device, precision),
        },
        "command": command(settings),
        "task": task.name,
        "settings": recipe.settings | {
            "student": recipe.model, "seeds": list(settings.seeds), "average": settings.average,
        },
        "data": {
            "name": data.name,
            "classes": list(data.classes),
            "train": len(data.train),
            "validation": len(data.validation),
            "test": len(data.test),
        },
        "models": rows,
        "comparison": compare(rows, task.metric),
        "recorded": recorded.summary(data),
    }  # fmt: skip
    outcome.results["made"]["seconds"] = round(time.perf_counter() - began, 1)
    return outcome


def command(settings: Settings) -> str:
    """The command line that makes this run again."""
    default = Settings()
    parts = ["kdcourse run"]
    for option, name in (
        ("--task", "task"), ("--data", "folder"), ("--teachers", "teachers"), ("--student", "student"),
        ("--temperature", "temperature"), ("--alpha", "alpha"), ("--epochs", "epochs"),
        ("--device", "device"), ("--average", "average"), ("--teacher-epochs", "teacher_epochs"),
        ("--size", "size"), ("--out", "out"),
    ):  # fmt: skip
        value = getattr(settings, name)
        if value != getattr(default, name):
            parts.append(f"{option} {_quoted(str(value))}")
    if tuple(settings.seeds) != tuple(default.seeds):
        parts.append(f"--seeds {len(settings.seeds)}")
    return " ".join(parts)


def _check(settings: Settings) -> None:
    if settings.epochs is not None and settings.epochs < 1:
        raise ArgumentError(f"--epochs must be at least 1; found {settings.epochs}.")
    if not settings.seeds or len(set(settings.seeds)) < len(settings.seeds):
        raise ArgumentError(f"seeds must be different numbers, at least one; found {list(settings.seeds)}.")
    if settings.temperature is not None and not 0 < settings.temperature < float("inf"):
        raise ArgumentError(f"--temperature must be a positive number; found {settings.temperature}.")
    if settings.alpha is not None and not 0 < settings.alpha <= 1:
        raise ArgumentError(
            f"--alpha, the weight of the teacher, must be above 0 and at most 1; found {settings.alpha}. "
            "(The plain student, trained beside the distilled one, is alpha = 0.)"
        )
    if settings.average not in ("logits", "probabilities"):
        raise ArgumentError(f"--average must be 'logits' or 'probabilities'; found {settings.average!r}.")
    if settings.student is not None:
        known = models.names()
        fitting = models.names(settings.task)  # type: ignore[arg-type]
        if settings.student in known and settings.student not in fitting:
            raise ArgumentError(
                f"--student {settings.student} is no model for {settings.task}. Take one of {', '.join(fitting)}."
            )
        with torch.device("meta"):  # a wrong name should be told now, not after the teachers
            models.build(settings.student)


def _load_data(settings: Settings, task: Task, say: Say) -> AnyDataset:
    data: AnyDataset
    if settings.folder is None:
        data = task.student_data()
    elif task.metric == "iou":
        size = settings.size or 64
        data = data_room.segmentation_folder(
            settings.folder / "images", settings.folder / "masks", size=(size, size)
        )
    else:
        data = data_room.image_folder(settings.folder, size=settings.size or 28)
    channels, height, width = data.image_shape
    say(
        f"{data.name}: {len(data.train):,} pictures to train on, {len(data.validation):,} for validation, "
        f"{len(data.test):,} for the test; {height}x{width}, {channels} channel(s), {len(data.classes)} classes."
    )
    return data


def batch_size_for(pictures: int) -> int:
    """256, or less where that would leave an epoch under 40 steps: a power of two, 16 or more."""
    return max(16, min(256, 1 << max(0, (pictures // 40).bit_length() - 1)))


def _student_recipe(settings: Settings, task: Task, data: AnyDataset) -> StudentRecipe:
    chosen = task.live
    # Of pixels a small batch holds many already.
    batch_size = batch_size_for(len(data.train)) if isinstance(data, Dataset) else chosen.batch_size
    return StudentRecipe(
        model=settings.student or chosen.model,
        epochs=settings.epochs or chosen.epochs,
        temperature=chosen.temperature if settings.temperature is None else settings.temperature,
        alpha=chosen.alpha if settings.alpha is None else settings.alpha,
        augmentation=chosen.augmentation,
        views=chosen.views,
        batch_size=batch_size,
        learning_rate=chosen.learning_rate,
        optimizer=chosen.optimizer,
        weight_decay=chosen.weight_decay,
        channelwise=chosen.channelwise,
    )


def _teachers(
    settings: Settings, task: Task, data: AnyDataset, device: torch.device, precision: str, say: Say
) -> list[tuple[str, nn.Module, dict[str, Any]]]:
    if settings.teachers == "train":
        folder = settings.out / "teachers"
        recipes = [
            replace(
                recipe,
                epochs=settings.teacher_epochs or recipe.epochs,
                batch_size=min(recipe.batch_size, batch_size_for(len(data.train))),
            )
            for recipe in task.teacher_recipes
        ]
        say(
            f"\nTeachers: training {len(recipes)}, kept in {folder}; an interrupted run goes on where it stopped."
        )
        for recipe in recipes:
            teachers.train_teacher(
                recipe, data, folder, device=settings.device, precision=precision, progress=settings.progress
            )
        names: Sequence[str] | None = [recipe.name for recipe in recipes]
    else:
        folder = shipped(task.teachers_folder) if settings.teachers == "shipped" else Path(settings.teachers)
        names = None
        say("\nTeachers, as trained and stored:")
    found = teachers.load_teachers(folder, data, names)
    for name, model, notes in found:
        last = notes["history"]["epochs"][-1]
        model.to(device)
        say(
            f"  {name}: {sum(p.numel() for p in model.parameters()):,} parameters, "
            f"{last['epoch']} epochs, validation {task.metric_name} {last[f'validation_{task.metric}']:.2%}"
        )
    return found


def _students(
    settings: Settings, recipe: StudentRecipe, data: AnyDataset, targets: SoftTargets, say: Say
) -> dict[str, list[tuple[int, nn.Module, training.History]]]:
    say(
        f"\nStudents: {recipe.model}, {len(settings.seeds)} seed(s), {recipe.epochs} epoch(s), "
        f"first on the labels alone, then on soft targets (T = {recipe.temperature:g}, alpha = {recipe.alpha:g})."
    )
    trained: dict[str, list[tuple[int, nn.Module, training.History]]] = {"plain": [], "distilled": []}
    # One after another, as that is faster: three pocket_17k as one network of grouped convolutions took
    # 23 ms a student and step of 256 on two cores, one alone 19 ms (bfloat16; 49 and 39 ms in float32).
    for seed in settings.seeds:
        for kind, its in (("plain", recipe.plain()), ("distilled", recipe)):
            mark = hashlib.sha256(json.dumps([its.settings, data.train.digest]).encode()).hexdigest()[:8]
            student, history = train_student(
                its, data, targets, seed,
                path=settings.out / "students" / f"{kind}-seed{seed}-{mark}.safetensors",
                device=settings.device,
                progress=f"{kind}, seed {seed}" if settings.progress else False,
            )  # fmt: skip
            trained[kind].append((seed, student, history))
    return trained


def _evaluate(
    settings: Settings,
    task: Task,
    recipe: StudentRecipe,
    data: AnyDataset,
    members: list[tuple[str, nn.Module, dict[str, Any]]],
    ensemble: Ensemble,
    trained: Mapping[str, list[tuple[int, nn.Module, training.History]]],
    say: Say,
) -> Outcome:
    asked: dict[str, nn.Module] = {name: model for name, model, _ in members}
    asked["ensemble"] = ensemble
    asked |= {f"{kind}-seed{seed}": student for kind, runs in trained.items() for seed, student, _ in runs}
    outcome = Outcome({}, data)
    found = _ask_about_masks(outcome, data, asked) if task.metric == "iou" else _ask(outcome, data, asked)
    rows: dict[str, Any] = {}
    for name, _, notes in members:
        seed = notes.get("settings", {}).get("seed")
        rows[name] = row(
            name.replace("_", " "), "teacher", notes["model"],
            [{"seed": seed, "test": found[name], "history": notes["history"]}], len(data.test), task.metric,
        )  # fmt: skip
    rows["ensemble"] = row(
        f"ensemble of {len(members)}", "ensemble", settings.average,
        [{"seed": None, "test": found["ensemble"], "history": None}], len(data.test), task.metric,
    )  # fmt: skip
    for kind in ("plain", "distilled"):
        outcome.histories[kind] = [history for _, _, history in trained[kind]]
        runs = [
            {"seed": seed, "test": found[f"{kind}-seed{seed}"], "history": json.loads(history.to_json())}
            for seed, _, history in trained[kind]
        ]
        rows[kind] = row(f"{kind} student", kind, recipe.model, runs, len(data.test), task.metric)
    for entry in rows.values():
        say(f"  {entry['label']}: {entry['mean'][task.metric]:.2%}")
    outcome.results["models"] = rows
    return outcome


def _ask(
    outcome: Outcome, data: AnyDataset, asked: Mapping[str, nn.Module]
) -> dict[str, dict[str, float | None]]:
    """Ask every classifier about the test pictures: its figures by name; the logits are kept for the figures."""
    assert isinstance(data, Dataset)
    ensemble, logits = asked["ensemble"], outcome.test_logits
    assert isinstance(ensemble, Ensemble)
    for name, model in asked.items():
        if name == "ensemble":
            # Its answer follows from its members', who have just been asked.
            logits[name] = ensemble.combine(torch.stack(list(logits.values())))
        else:
            logits[name] = evaluation.predict(model, data.test, data)
    labels = data.test.labels
    return {name: scores(logits[name], labels, logits["ensemble"]) for name in asked}


def _ask_about_masks(
    outcome: Outcome, data: AnyDataset, asked: Mapping[str, nn.Module]
) -> dict[str, dict[str, float | None]]:
    """Ask every segmentation model about the test pictures: its figures by name; masks and scores are kept."""
    assert isinstance(data, SegmentationDataset)
    found, masks = outcome.test_scores, outcome.test_masks
    for name, model in asked.items():
        found[name], masks[name] = evaluation.evaluate_with_masks(model, data.test, data)
    return {name: mask_scores(found[name], masks[name], masks["ensemble"]) for name in asked}


def _measure_cost(
    outcome: Outcome,
    data: AnyDataset,
    members: list[tuple[str, nn.Module, dict[str, Any]]],
    ensemble: Ensemble,
    student: nn.Module,
    progress: bool,
) -> None:
    from tqdm.auto import tqdm

    student.to(next(ensemble.parameters()).device)
    to_time: dict[str, nn.Module] = {name: model for name, model, _ in members}
    to_time |= {"ensemble": ensemble, "distilled": student}
    for name, model in tqdm(to_time.items(), desc="timing", unit="model", disable=not progress):
        found = evaluation.cost(model, data.image_shape)
        outcome.results["models"][name]["cost"] = asdict(found)
    # Plain and distilled are one architecture: timing it twice would only show the noise.
    outcome.results["models"]["plain"]["cost"] = outcome.results["models"]["distilled"]["cost"]


def _machine(device: torch.device, precision: str) -> dict[str, Any]:
    import torchvision

    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": precision,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)
