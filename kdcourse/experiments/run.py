"""The whole story in one call: teachers, ensemble, soft targets, students, test set, report."""

from __future__ import annotations

import hashlib
import json
import platform
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
from kdcourse.data import Dataset
from kdcourse.distillation import Ensemble, SoftTargets, assert_trained, soft_targets, views_shown
from kdcourse.errors import ArgumentError
from kdcourse.experiments import recorded, teachers
from kdcourse.experiments.students import LIVE, StudentRecipe, train_student
from kdcourse.experiments.table import compare, row, scores

Say = Callable[[str], None]
FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """What `kdcourse run` was asked to do; every field is an option of the command.

    ``teachers`` is ``shipped``, ``train``, or a folder of teachers trained earlier. ``folder`` names
    pictures of the user's own; ``None`` is Fashion-MNIST. ``None`` for student, temperature or alpha
    takes the setting that the recorded search chose.
    """

    out: Path = Path("kdcourse-report")
    teachers: str = "shipped"
    student: str | None = None
    temperature: float | None = None
    alpha: float | None = None
    epochs: int = 2
    seeds: Sequence[int] = (0, 1, 2)
    folder: Path | None = None
    size: int = 28
    device: str = "auto"
    average: str = "logits"
    teacher_epochs: int | None = None
    progress: bool = True


@dataclass
class Outcome:
    """Everything a report needs: the numbers, and what the figures are drawn from."""

    results: dict[str, Any]
    data: Dataset
    test_logits: dict[str, Tensor] = field(default_factory=dict)
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
    _check(settings)
    place = training.placement.Placement(settings.device)
    data = _load_data(settings, say)
    recipe = _student_recipe(settings, data)
    precision = training.fastest(place.device)
    members = _teachers(settings, data, place.device, precision, say)
    ensemble = Ensemble([model for _, model, _ in members], average=settings.average).to(place.device)  # type: ignore[arg-type]
    assert_trained(ensemble, data.validation, data)

    say("\nSoft targets: the ensemble is asked once about every training picture.")
    views = views_shown(recipe.augmentation, recipe.views, 0, recipe.epochs)
    targets = soft_targets(
        ensemble, data.train, data, views=views, precision=precision, progress=settings.progress
    )
    say(f"  {len(targets.views)} view(s) of {len(targets):,} pictures, {targets.nbytes / 1e6:.1f} MB.")

    trained = _students(settings, recipe, data, targets, say)

    say("\nTest set: every model is asked once, after all choices were made.")
    outcome = _evaluate(settings, recipe, data, members, ensemble, trained, say)
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
        "comparison": compare(rows),
        "recorded": recorded.summary(data),
    }  # fmt: skip
    outcome.results["made"]["seconds"] = round(time.perf_counter() - began, 1)
    return outcome


def command(settings: Settings) -> str:
    """The command line that makes this run again."""
    default = Settings()
    parts = ["kdcourse run"]
    for option, name in (
        ("--data", "folder"), ("--teachers", "teachers"), ("--student", "student"),
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
    if settings.epochs < 1:
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
        with torch.device("meta"):  # a wrong name should be told now, not after the teachers
            models.build(settings.student)


def _load_data(settings: Settings, say: Say) -> Dataset:
    if settings.folder is None:
        data = data_room.fashion_mnist()
    else:
        data = data_room.image_folder(settings.folder, size=settings.size)
    channels, height, width = data.image_shape
    say(
        f"{data.name}: {len(data.train):,} pictures to train on, {len(data.validation):,} for validation, "
        f"{len(data.test):,} for the test; {height}x{width}, {channels} channel(s), {len(data.classes)} classes."
    )
    return data


def batch_size_for(pictures: int) -> int:
    """256, or less where that would leave an epoch under 40 steps: a power of two, 16 or more."""
    return max(16, min(256, 1 << max(0, (pictures // 40).bit_length() - 1)))


def _student_recipe(settings: Settings, data: Dataset) -> StudentRecipe:
    chosen = LIVE
    return StudentRecipe(
        model=settings.student or chosen.model,
        epochs=settings.epochs,
        temperature=chosen.temperature if settings.temperature is None else settings.temperature,
        alpha=chosen.alpha if settings.alpha is None else settings.alpha,
        augmentation=chosen.augmentation,
        views=chosen.views,
        batch_size=batch_size_for(len(data.train)),
        learning_rate=chosen.learning_rate,
        optimizer=chosen.optimizer,
        weight_decay=chosen.weight_decay,
    )


def _teachers(
    settings: Settings, data: Dataset, device: torch.device, precision: str, say: Say
) -> list[tuple[str, nn.Module, dict[str, Any]]]:
    if settings.teachers == "train":
        folder = settings.out / "teachers"
        recipes = teachers.recipes_for(settings.teacher_epochs, batch_size_for(len(data.train)))
        say(
            f"\nTeachers: training {len(recipes)}, kept in {folder}; an interrupted run goes on where it stopped."
        )
        for recipe in recipes:
            teachers.train_teacher(
                recipe, data, folder, device=settings.device, precision=precision, progress=settings.progress
            )
        names: Sequence[str] | None = [recipe.name for recipe in recipes]
    else:
        folder = teachers.shipped_folder() if settings.teachers == "shipped" else Path(settings.teachers)
        names = None
        say("\nTeachers, as trained and stored:")
    found = teachers.load_teachers(folder, data, names)
    for name, model, notes in found:
        last = notes["history"]["epochs"][-1]
        model.to(device)
        say(
            f"  {name}: {sum(p.numel() for p in model.parameters()):,} parameters, "
            f"{last['epoch']} epochs, validation accuracy {last['validation_accuracy']:.2%}"
        )
    return found


def _students(
    settings: Settings, recipe: StudentRecipe, data: Dataset, targets: SoftTargets, say: Say
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
    recipe: StudentRecipe,
    data: Dataset,
    members: list[tuple[str, nn.Module, dict[str, Any]]],
    ensemble: Ensemble,
    trained: Mapping[str, list[tuple[int, nn.Module, training.History]]],
    say: Say,
) -> Outcome:
    labels = data.test.labels
    logits = {name: evaluation.predict(model, data.test, data) for name, model, _ in members}
    # The ensemble's answer follows from its members', who have just been asked.
    logits["ensemble"] = ensemble.combine(torch.stack([logits[name] for name, _, _ in members]))
    rows: dict[str, Any] = {}
    for name, _, notes in members:
        test = scores(logits[name], labels, logits["ensemble"])
        seed = notes.get("settings", {}).get("seed")
        rows[name] = row(
            name.replace("_", " "), "teacher", notes["model"],
            [{"seed": seed, "test": test, "history": notes["history"]}], len(labels),
        )  # fmt: skip
    rows["ensemble"] = row(
        f"ensemble of {len(members)}", "ensemble", settings.average,
        [{"seed": None, "test": scores(logits["ensemble"], labels, logits["ensemble"]), "history": None}],
        len(labels),
    )  # fmt: skip
    outcome = Outcome({"models": rows}, data, logits)
    for kind in ("plain", "distilled"):
        runs = []
        outcome.histories[kind] = [history for _, _, history in trained[kind]]
        for seed, student, history in trained[kind]:
            answer = evaluation.predict(student, data.test, data)
            logits[f"{kind}-seed{seed}"] = answer
            runs.append(
                {
                    "seed": seed,
                    "test": scores(answer, labels, logits["ensemble"]),
                    "history": json.loads(history.to_json()),
                }
            )
        rows[kind] = row(f"{kind} student", kind, recipe.model, runs, len(labels))
    for entry in rows.values():
        say(f"  {entry['label']}: {entry['mean']['accuracy']:.2%}")
    return outcome


def _measure_cost(
    outcome: Outcome,
    data: Dataset,
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
