"""Run the full experiment: teachers, ensemble, soft targets, students, test split, results."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import kdcourse
from kdcourse import data as data_room
from kdcourse import evaluation, models, training
from kdcourse.data import Dataset, SegmentationDataset
from kdcourse.distillation import Ensemble, SoftTargets, check_teacher, methods
from kdcourse.distillation.features import Trial, pair_layers
from kdcourse.distillation.objective import weights_of
from kdcourse.errors import ArgumentError, DataError
from kdcourse.files import shipped
from kdcourse.runs import recorded, study, teachers, unlabelled
from kdcourse.runs.findings import flips_in_words
from kdcourse.runs.machine import machine
from kdcourse.runs.students import StudentRecipe, build_student, train_student
from kdcourse.runs.table import compare, mask_scores, row, scores
from kdcourse.runs.tasks import AnyDataset, Task, targets_for, task_named
from kdcourse.runs.unlabelled import Kind, Teachers
from kdcourse.training.side_by_side import AfterStep, draws_random_numbers, side_by_side

Say = Callable[[str], None]
FORMAT = 1
_ALPHA = 0.9  # of a method that is chosen where the recorded student has alpha 0
_BOOLEANS = {"true": True, "false": False}
# Options that need labels for all images: the stored answers are those of the course's teachers to its own images.
_ALL_LABELS = {
    "--data": "folder", "--teachers": "teachers", "--method": "method", "--alpha": "alpha",
    "--weight": "weights", "--layer": "layers", "--augmentation": "augmentation", "--average": "average",
    "--teacher-epochs": "teacher_epochs", "--size": "size", "--levels": "levels", "--cache": "cache",
    "--skip-damaged": "skip_damaged",
}  # fmt: skip


@dataclass(frozen=True)
class RunOptions:
    """Hold the options of `kdcourse run`, one per field.

    ``labels`` is how many of the images that the teachers never saw have a label (or a mask), or ``"all"`` for an
    experiment in which all training images have one; see `labels_of` for ``None``.

    ``teachers`` is ``shipped``, ``train``, or a folder of teachers trained earlier. ``folder`` is one of the user's own
    images (for segmentation, a folder that holds ``images`` and ``masks``); ``None`` is Fashion-MNIST, or scenes of its
    garments. What is ``None`` or empty of student, method, its settings, alpha and epochs is as the recorded search
    chose it, with fewer epochs, so that students train in minutes.

    ``augmentation`` is that of teachers that are trained, one of `kdcourse.runs.teachers.AUGMENTATIONS`: ``auto`` takes
    the recipes' own for the course's images, and decides on the validation split whether the user's are mirrored.
    ``cache``, ``skip_damaged`` and ``levels`` are those of `kdcourse.data.image_folder`.
    """

    task: str = "classification"
    labels: int | str | None = None
    out: Path = Path("kdcourse-report")
    teachers: str = "shipped"
    student: str | None = None
    method: Sequence[str] = ()
    method_settings: Mapping[str, Any] = field(default_factory=dict)
    alpha: float | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    layers: Mapping[str, str] = field(default_factory=dict)
    epochs: int | None = None
    seeds: Sequence[int] = (0, 1, 2)
    folder: Path | None = None
    size: int | None = None
    levels: tuple[float, float] | None = None
    cache: bool = False
    skip_damaged: bool = False
    augmentation: str = "auto"
    device: str = "auto"
    average: str = "logits"
    teacher_epochs: int | None = None
    progress: bool = True


# By kind, such as "plain" and "distilled": seed, student and history of each run.
Trained = Mapping[str, list[tuple[int, nn.Module, training.History]]]


@dataclass
class Outcome:
    """Hold what a report needs: the results, and what its figures are drawn from.

    For a classifier that is ``test_logits`` [N, C]; for a segmentation model, whose logits would fill the memory,
    ``test_scores`` and the predicted masks, ``test_masks`` [N, H, W].
    """

    results: dict[str, Any]
    data: AnyDataset
    test_logits: dict[str, Tensor] = field(default_factory=dict)
    test_masks: dict[str, Tensor] = field(default_factory=dict)
    test_scores: dict[str, evaluation.SegmentationScores] = field(default_factory=dict)
    histories: dict[str, list[training.History]] = field(default_factory=dict)


def run(options: RunOptions, say: Say = print) -> Outcome:
    """Train, compare and measure; resume where an interrupted call with these options stopped.

    Finished teachers and students are stored in ``options.out`` and are not trained twice.

    Returns:
        The `Outcome`; `kdcourse.runs.report.write_report` writes it to files.

    Raises:
        KdcourseError: unusable options, images or stored files; each error says what to do.
    """
    began = time.perf_counter()
    task = task_named(options.task)
    _check(options)
    labels = labels_of(options)
    recipe = recipe_for(options, task)
    place = training.placement.Placement(options.device)
    data = _load_data(options, task, say)
    precision = training.usual_precision(place.device)
    images: int | None = None
    if labels is None:
        if isinstance(data, Dataset):  # of pixels, a small batch holds many already
            recipe = recipe.changed(batch_size=batch_size_for(len(data.train)))
        _check_layers(recipe, task, data)
        found = _teachers(options, task, data, place.device, precision, say)
        check_teacher(found.ensemble, data.validation, data)
        kinds = _kinds(recipe, data, _targets(recipe, found.ensemble, data, options.progress, say))
    elif isinstance(data, SegmentationDataset):
        images = len(data.train)
        found = _teachers(options, task, data, place.device, precision, say)
        targets = _targets(recipe, found.ensemble, data, options.progress, say)
        assert isinstance(targets, SoftTargets)
        kinds = unlabelled.kinds_of_masks(recipe, data, targets, labels)
    else:
        found = _answering(task, data, place.device, say)
        assert found.answers is not None
        images = len(found.answers.logits)
        recipe = recipe.changed(batch_size=min(recipe.training.batch_size, batch_size_for(images)))
        kinds = unlabelled.kinds(recipe, data, found.answers, labels)
    trained = _students(options, kinds, say)

    say("\nTest split: every model is evaluated once, after all choices were made.")
    outcome = _evaluate(task, kinds, data, found, trained, say)
    say("\nCost: bytes of weights, multiply-accumulates and time, measured on this machine.")
    _measure_cost(outcome, found, trained, options.progress)
    rows = outcome.results["models"]
    outcome.results = {
        "format": FORMAT,
        "kdcourse": kdcourse.__version__,
        "made": {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "machine": machine(place.device, precision),
        },
        "command": command(options),
        "task": task.name,
        "settings": recipe.settings | {
            "student": recipe.model, "seeds": list(options.seeds), "average": options.average,
        },
        "data": {
            "name": data.name,
            "classes": list(data.classes),
            "train": len(data.train),
            "validation": len(data.validation),
            "test": len(data.test),
        },
        "augmentation": found.augmentation,
        "models": rows,
        "labels": None if labels is None else {"few": labels, "images": images},
        "comparison": compare(rows, task.metric),
        "recorded": recorded.summary(data) if labels is None else None,
        "studies": study.curves(task.metric_name) if _like_a_study(options, labels) else {},
    }  # fmt: skip
    if labels is not None and isinstance(data, Dataset):  # those of few masks have the others' settings
        outcome.results["settings"]["students of few labels"] = kinds["plain"].recipe.settings
    outcome.results["made"]["seconds"] = round(time.perf_counter() - began, 1)
    return outcome


def _like_a_study(options: RunOptions, labels: int | None) -> bool:
    """Return whether a run asks what a stored study asks: few labels, or masks of the course's own scenes."""
    return labels is not None or (options.task == "segmentation" and options.folder is None)


def command(options: RunOptions) -> str:
    """Return the command line of this run."""
    default = RunOptions()
    parts = ["kdcourse run"]
    for option, name in (
        ("--task", "task"), ("--labels", "labels"), ("--data", "folder"), ("--teachers", "teachers"),
        ("--student", "student"),
        ("--method", "method"), ("--set", "method_settings"), ("--alpha", "alpha"), ("--weight", "weights"),
        ("--layer", "layers"), ("--epochs", "epochs"), ("--device", "device"), ("--average", "average"),
        ("--teacher-epochs", "teacher_epochs"), ("--size", "size"), ("--levels", "levels"), ("--cache", "cache"),
        ("--skip-damaged", "skip_damaged"), ("--augmentation", "augmentation"), ("--out", "out"),
    ):  # fmt: skip
        value = getattr(options, name)
        if value == getattr(default, name):
            continue
        if isinstance(value, Mapping):
            for key, its in value.items():
                usual = option == "--set" and key == "temperature"
                parts.append(f"--temperature {its}" if usual else f"{option} {shlex.quote(f'{key}={its}')}")
        elif name == "levels":
            parts.append(f"{option} {' '.join(map(str, value))}")
        elif value is True:
            parts.append(option)
        else:
            parts += [
                f"{option} {shlex.quote(str(one))}"
                for one in (value if isinstance(value, list | tuple) else [value])
            ]
    if tuple(options.seeds) != tuple(default.seeds):
        parts.append(f"--seeds {len(options.seeds)}")
    return " ".join(parts)


def labels_of(options: RunOptions) -> int | None:
    """Return how many images have labels beside many that have none, or ``None`` for an experiment with all labels.

    Without ``labels``, that is `kdcourse.runs.unlabelled.LABELS`, or ``MASKS`` for segmentation, unless another option
    needs all labels.

    Raises:
        ArgumentError: a number of labels beside such an option.
    """
    if options.labels == "all":
        return None
    default = RunOptions()
    others = [
        option for option, name in _ALL_LABELS.items() if getattr(options, name) != getattr(default, name)
    ]
    if options.labels is None:
        usual = unlabelled.MASKS if options.task == "segmentation" else unlabelled.LABELS
        return None if others else usual
    if others:
        raise ArgumentError(
            f"--labels {options.labels} trains students on answers of the course's teachers to its own images, "
            f"which {others[0]} doesn't fit. Leave it out, or use --labels all."
        )
    return int(options.labels)


def read_labels(text: str | None) -> int | str | None:
    """Return the option ``--labels`` read from its text: a number, ``all``, or nothing.

    Raises:
        ArgumentError: another text.
    """
    if text is None or text == "all":
        return text
    if not text.isascii() or not text.isdigit():
        raise ArgumentError(f"--labels must be a number of images or 'all'; found {text!r}.")
    return int(text)


def recipe_for(options: RunOptions, task: Task) -> StudentRecipe:
    """Return the distilled student's recipe: the experiment's own with what the options change.

    Raises:
        ArgumentError: a method, setting, weight or model that doesn't exist (the right ones are listed), isn't for
            this task, or is out of range.
    """
    few = unlabelled.MASKS_RECIPE if task.kind == "masks" else unlabelled.RECIPE
    chosen = task.live if labels_of(options) is None else few
    changes: dict[str, Any] = {"model": options.student, "epochs": options.epochs, "alpha": options.alpha}
    changes = {name: value for name, value in changes.items() if value is not None}
    if options.method:
        changes = {"weights": {}, "alpha": chosen.alpha or _ALPHA} | changes
    names = list(options.method) or [method.name for method in chosen.methods]
    settings = dict(options.method_settings)
    if not options.method:
        settings = {
            name: getattr(method, name) for method in chosen.methods for name in method.settings()
        } | settings
    if options.method or options.method_settings:
        changes["methods"] = methods.build(names, **settings)
    if options.weights:
        changes["weights"] = dict(options.weights)
    if options.layers:
        changes["layers"] = dict(options.layers)
    recipe = chosen.changed(**changes, device=options.device)
    fitting = methods.names(task.kind)
    for method in recipe.methods:
        if task.kind not in method.tasks:
            raise ArgumentError(
                f"--method {method.name} is not for {task.name}. Choose one of {', '.join(fitting)}."
            )
    weights_of(recipe.methods, recipe.alpha, recipe.weights)
    with torch.device("meta"):  # a wrong name is reported now, not after the teachers were trained
        models.build(recipe.model)
    return recipe


def method_settings(
    task: str, names: Sequence[str], pairs: Sequence[str], *, temperature: float | None = None
) -> dict[str, Any]:
    """Return settings of methods, read from ``KEY=VALUE`` texts; a value has the type of the setting's default.

    Args:
        task: the task whose methods are meant where there are no names.
        names: the methods, see `kdcourse.distillation.methods.names`.
        pairs: the texts.
        temperature: a setting that has an option of its own.

    Raises:
        ArgumentError: an unknown task, method or setting (the right ones are listed), or a value of another type.
    """
    names = names or [method.name for method in task_named(task).live.methods]
    known = {key: default for name in names for key, default in methods.settings_of(name).items()}
    found: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
    for key, text in read_pairs("--set", pairs).items():
        if key not in known:
            raise ArgumentError(
                f"--set {key}={text}: {' and '.join(names)} has no such setting; its settings are "
                f"{', '.join(known) or 'none'}."
            )
        kind: Any = type(known[key])
        try:
            found[key] = _BOOLEANS[text] if kind is bool else text if kind is str else kind(text)
        except (KeyError, TypeError, ValueError):
            raise ArgumentError(f"--set {key} must be of type {kind.__name__}; found {text!r}.") from None
    return found


def method_weights(pairs: Sequence[str]) -> dict[str, float]:
    """Return weights by method, read from ``METHOD=WEIGHT`` texts.

    Raises:
        ArgumentError: a weight that is no number.
    """
    found = read_pairs("--weight", pairs)
    try:
        return {name: float(text) for name, text in found.items()}
    except ValueError as error:
        raise ArgumentError(f"--weight takes METHOD=WEIGHT, such as kd=0.5; found {error}.") from None


def read_pairs(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """Return ``KEY=VALUE`` texts of an option as a dictionary.

    Raises:
        ArgumentError: a text without ``=``.
    """
    for pair in pairs:
        if not all(pair.partition("=")):
            raise ArgumentError(f"{option} takes KEY=VALUE; found {pair!r}.")
    return dict(pair.split("=", 1) for pair in pairs)


def _check(options: RunOptions) -> None:
    if options.epochs is not None and options.epochs < 1:
        raise ArgumentError(f"--epochs must be at least 1; found {options.epochs}.")
    if not options.seeds or len(set(options.seeds)) < len(options.seeds):
        raise ArgumentError(f"seeds must be different numbers, at least one; found {list(options.seeds)}.")
    if options.alpha is not None and not 0 < options.alpha <= 1:
        raise ArgumentError(
            f"--alpha, the weight of the teacher, must be above 0 and at most 1; found {options.alpha}. "
            "(The plain student, trained beside the distilled one, is alpha = 0.)"
        )
    for option, given in (
        ("--size", options.size), ("--levels", options.levels), ("--cache", options.cache),
        ("--skip-damaged", options.skip_damaged),
    ):  # fmt: skip
        if given and options.folder is None:
            raise ArgumentError(f"{option} is about images of your own. Add --data FOLDER, or leave it out.")
    if options.augmentation not in teachers.AUGMENTATIONS:
        raise ArgumentError(
            f"--augmentation must be one of {', '.join(teachers.AUGMENTATIONS)}; found {options.augmentation!r}."
        )
    if options.augmentation != "auto" and options.teachers != "train":
        raise ArgumentError(
            f"--augmentation {options.augmentation} is about teachers that are trained, and --teachers "
            f"{options.teachers} loads trained ones. Add --teachers train, or leave it out."
        )
    if options.average not in ("logits", "probabilities"):
        raise ArgumentError(f"--average must be 'logits' or 'probabilities'; found {options.average!r}.")
    if options.student is not None:
        fitting = models.names(options.task)  # type: ignore[arg-type]
        if options.student in models.names() and options.student not in fitting:
            raise ArgumentError(
                f"--student {options.student} is no model for {options.task}. Choose one of {', '.join(fitting)}."
            )


def _load_data(options: RunOptions, task: Task, say: Say) -> AnyDataset:
    data: AnyDataset
    how: dict[str, Any] = {
        "levels": options.levels, "cache": options.cache, "skip_damaged": options.skip_damaged,
        "progress": options.progress,
    }  # fmt: skip
    try:
        if options.folder is None:
            data = task.student_data()
        elif task.metric == "iou":
            data = data_room.segmentation_folder(
                options.folder / "images", options.folder / "masks", size=options.size or 64, **how
            )
        else:
            data = data_room.image_folder(options.folder, size=options.size or 28, **how)
    except DataError as error:  # which names arguments of Python
        text = str(error).replace("pass skip_damaged=True", "add --skip-damaged")
        raise DataError(re.sub(r"levels=\((\S+), (\S+)\)", r"--levels \1 \2", text)) from error
    channels, height, width = data.image_shape
    say(
        f"{data.name}: {len(data.train):,} images to train on, {len(data.validation):,} for validation, "
        f"{len(data.test):,} for the test; {height}x{width}, {channels} channel(s), {len(data.classes)} classes."
    )
    return data


def _check_layers(recipe: StudentRecipe, task: Task, data: AnyDataset) -> None:
    """Raise ArgumentError, listing the right ones, for layers that untrained networks of these kinds don't have."""
    if recipe.layers and not recipe.compared:
        fitting = [name for name in methods.names(task.kind) if methods.describe(name).layers]
        raise ArgumentError(
            "--layer names a layer, and no method here compares any. Leave it out, or choose --method "
            f"{' or '.join(fitting)}."
        )
    if recipe.compared:
        images = data.normalise(data.train.images[:2])
        shape: dict[str, Any] = {"num_classes": len(data.classes), "in_channels": data.image_shape[0]}
        student = models.build(recipe.model, size=data.image_shape[1:], **shape)
        teacher = Ensemble([models.build(each.model, **shape) for each in task.teacher_recipes])
        for kind in recipe.compared:
            pair_layers(kind, Trial(student, images), Trial(teacher, images), recipe.layers)


def batch_size_for(images: int) -> int:
    """Return 256, or less where an epoch would have fewer than 40 steps: a power of two, at least 16."""
    return max(16, min(256, 1 << max(0, (images // 40).bit_length() - 1)))


def _teachers(
    options: RunOptions, task: Task, data: AnyDataset, device: torch.device, precision: str, say: Say
) -> Teachers:
    names: Sequence[str] | None = None
    augmentation: dict[str, Any] | None = None
    if options.teachers == "train":
        folder = options.out / "teachers"
        recipes = [
            recipe.changed(
                device=options.device, precision=precision, epochs=options.teacher_epochs or recipe.training.epochs,
                batch_size=min(recipe.training.batch_size, batch_size_for(len(data.train))),
            )
            for recipe in task.teacher_recipes
        ]  # fmt: skip
        say(f"\nTeachers: training {len(recipes)} in {folder}; an interrupted run resumes.")
        augmentation = _augmentation(options, task, data, recipes, folder, say)
        for recipe in recipes:
            teachers.train_teacher(
                teachers.augmented(recipe, augmentation["chosen"]), data, folder, progress=options.progress
            )
        names = [recipe.name for recipe in recipes]
    else:
        folder = shipped(task.teachers_folder) if options.teachers == "shipped" else Path(options.teachers)
        say("\nTeachers, as stored:")
    found = teachers.load_teachers(folder, data, names)
    for name, model, notes in found:
        last = notes["history"]["epochs"][-1]
        model.to(device)
        say(
            f"  {name}: {sum(p.numel() for p in model.parameters()):,} parameters, "
            f"{last['epoch']} epochs, validation {task.metric_name} {last[f'validation_{task.metric}']:.2%}"
        )
    together = Ensemble([model for _, model, _ in found], average=options.average)  # type: ignore[arg-type]
    return Teachers(found, together.to(device), augmentation)


def _augmentation(
    options: RunOptions,
    task: Task,
    data: AnyDataset,
    recipes: Sequence[teachers.TeacherRecipe],
    folder: Path,
    say: Say,
) -> dict[str, Any]:
    """Return the teachers' augmentation under ``chosen``; for the user's own images it is tried on validation."""
    if options.augmentation != "auto":
        return {"chosen": options.augmentation}
    mirrored = next(
        (each for each in recipes if (how := each.training.augmentation) is not None and how.flip), None
    )
    if options.folder is None or mirrored is None:
        return {"chosen": "flips"}
    say(f"  {mirrored.name} is trained twice, with mirrored images and without: not all images bear it.")
    found = teachers.choose_flips(mirrored, data, folder, task.metric, progress=options.progress)
    found |= {"teacher": mirrored.name, "images": len(data.validation)}
    say(f"  {flips_in_words(found, task.metric_name)}")
    return found


def _targets(
    recipe: StudentRecipe, ensemble: Ensemble, data: AnyDataset, progress: bool, say: Say
) -> SoftTargets | Ensemble:
    """Return what students learn from: stored logits, or the ensemble where a method compares features."""
    if recipe.compared:
        say("\nFeatures: computed during training, by the ensemble's forward passes.")
        return ensemble
    say("\nSoft targets: the ensemble predicts every training image once.")
    targets = targets_for(recipe, ensemble, data, progress=progress)
    say(f"  {len(targets.views)} view(s) of {len(targets):,} images, {targets.nbytes / 1e6:.1f} MB.")
    return targets


def _answering(task: Task, data: Dataset, device: torch.device, say: Say) -> Teachers:
    """Return the teachers of one half of the images, whose answers to the other half are stored."""
    found = unlabelled.teachers(data, device)
    assert found.answers is not None
    say(
        "\nTeachers: trained on the labels of one half of the images. Stored: their answers to the other half."
    )
    for name, _, notes in found.members:
        say(
            f"  {name}: {notes['parameters']:,} parameters, validation {task.metric_name} "
            f"{notes['validation_accuracy']:.2%}"
        )
    say(
        f"  {len(found.answers.logits):,} images without labels, {found.answers.logits.nbytes / 1e6:.1f} MB of answers."
    )
    return found


def _kinds(recipe: StudentRecipe, data: AnyDataset, targets: SoftTargets | Ensemble) -> Mapping[str, Kind]:
    """Return the two kinds of students of an experiment in which all images have labels."""
    return {
        "plain": Kind("plain student", recipe.plain(), lambda seed: data),
        "distilled": Kind("distilled student", recipe, lambda seed: data, targets),
    }


def _students(options: RunOptions, kinds: Mapping[str, Kind], say: Say) -> Trained:
    recipe = kinds["distilled"].recipe
    say(f"\nStudents: {recipe.model}, {len(options.seeds)} seed(s) of each kind:")
    for kind in kinds.values():
        say(f"  {kind.label}: {kind.recipe.training.epochs} epoch(s), by {kind.recipe.learns}")
    jobs = [
        (name, kind, seed, kind.data(seed), kind.recipe.changed(seed=seed))
        for seed in options.seeds
        for name, kind in kinds.items()
    ]
    students = [build_student(its, data) for _, _, _, data, its in jobs]

    def training_of(position: int) -> Callable[[AfterStep | None], tuple[nn.Module, training.History]]:
        name, kind, seed, data, its = jobs[position]
        mark = hashlib.sha256(json.dumps([its.settings, data.train.digest]).encode()).hexdigest()[:8]
        return lambda after_step: train_student(
            its, data, kind.targets, student=students[position], after_step=after_step,
            path=options.out / "students" / f"{name}-seed{seed}-{mark}.safetensors",
            progress=f"{kind.label}, seed {seed}" if options.progress else False,
        )  # fmt: skip

    place = training.placement.Placement(options.device)
    together = place.device.type == "cpu" and not recipe.compared
    if together and draws_random_numbers(students[0], jobs[0][3].normalise(jobs[0][3].train.images[:2])):
        together = False
    at_a_time = min(torch.get_num_threads(), len(jobs)) if together else 1
    done = side_by_side([training_of(position) for position in range(len(jobs))], at_a_time)
    trained: dict[str, list[tuple[int, nn.Module, training.History]]] = {name: [] for name in kinds}
    for (name, _, seed, _, _), (student, history) in zip(jobs, done, strict=True):
        trained[name].append((seed, student, history))
    return trained


def _evaluate(
    task: Task, kinds: Mapping[str, Kind], data: AnyDataset, found: Teachers, trained: Trained, say: Say
) -> Outcome:
    models_by_name: dict[str, nn.Module] = {}
    if found.answers is None:
        models_by_name = {name: model for name, model, _ in found.members} | {"ensemble": found.ensemble}
    models_by_name |= {
        f"{kind}-seed{seed}": student for kind, runs in trained.items() for seed, student, _ in runs
    }
    outcome = Outcome({}, data)
    measure = _measure_masks if task.metric == "iou" else _measure_labels
    tests = measure(outcome, data, models_by_name)
    if found.answers is not None:
        of = {name: notes for name, _, notes in found.members} | {"ensemble": found.answers.notes["ensemble"]}
        unknown = dict.fromkeys(tests[f"distilled-seed{trained['distilled'][0][0]}"])
        tests |= {name: unknown | {"accuracy": notes["test_accuracy"]} for name, notes in of.items()}
    rows: dict[str, Any] = {}
    for name, _, notes in found.members:
        settings = notes.get("settings", {})
        rows[name] = row(
            name.replace("_", " "), "teacher", notes.get("model") or settings["model"],
            [{"seed": settings.get("seed"), "test": tests[name], "history": notes.get("history")}], len(data.test),
            task.metric,
        )  # fmt: skip
    rows["ensemble"] = row(
        f"ensemble of {len(found.members)}", "ensemble", found.ensemble.average,
        [{"seed": None, "test": tests["ensemble"], "history": None}], len(data.test), task.metric,
    )  # fmt: skip
    for name, kind in kinds.items():
        outcome.histories[name] = [history for _, _, history in trained[name]]
        runs = [
            {"seed": seed, "test": tests[f"{name}-seed{seed}"], "history": json.loads(history.to_json())}
            for seed, _, history in trained[name]
        ]
        rows[name] = row(kind.label, name, kind.recipe.model, runs, len(data.test), task.metric)
    for entry in rows.values():
        say(f"  {entry['label']}: {entry['mean'][task.metric]:.2%}")
    outcome.results["models"] = rows
    return outcome


def _measure_labels(
    outcome: Outcome, data: AnyDataset, models_by_name: Mapping[str, nn.Module]
) -> dict[str, dict[str, float | None]]:
    """Return every classifier's metrics on the test images, by name; the logits are kept for the figures."""
    assert isinstance(data, Dataset)
    logits = outcome.test_logits
    for name, model in models_by_name.items():
        if isinstance(model, Ensemble):
            # Its prediction follows from those of its members.
            logits[name] = model.combine(torch.stack(list(logits.values())))
        else:
            logits[name] = evaluation.predict(model, data.test, data)
    labels = data.test.labels
    return {name: scores(logits[name], labels, logits.get("ensemble")) for name in models_by_name}


def _measure_masks(
    outcome: Outcome, data: AnyDataset, models_by_name: Mapping[str, nn.Module]
) -> dict[str, dict[str, float | None]]:
    """Return every segmentation model's metrics on the test images, by name; masks and scores are kept."""
    assert isinstance(data, SegmentationDataset)
    found, masks = outcome.test_scores, outcome.test_masks
    for name, model in models_by_name.items():
        found[name], masks[name] = evaluation.evaluate_with_masks(model, data.test, data)
    return {name: mask_scores(found[name], masks[name], masks["ensemble"]) for name in models_by_name}


def _measure_cost(outcome: Outcome, found: Teachers, trained: Trained, progress: bool) -> None:
    from tqdm.auto import tqdm

    student = trained["distilled"][0][1].to(next(found.ensemble.parameters()).device)
    to_time: dict[str, nn.Module] = {name: model for name, model, _ in found.members}
    to_time |= {"ensemble": found.ensemble, "distilled": student}
    for name, model in tqdm(to_time.items(), desc="timing", unit="model", disable=not progress):
        measured = evaluation.cost(model, outcome.data.image_shape)
        outcome.results["models"][name]["cost"] = asdict(measured)
    # Students have one architecture: timing it twice would only show noise.
    for kind in trained:
        outcome.results["models"][kind]["cost"] = outcome.results["models"]["distilled"]["cost"]
