"""Choose the settings of distillation, and train a student with them."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
from torch import nn

from kdcourse import models
from kdcourse.data import Dataset
from kdcourse.distillation import SoftTargets, methods
from kdcourse.errors import ArgumentError
from kdcourse.widgets.base import TEMPERATURE, WIDE, TrainingWidget, button, row, slider_layout
from kdcourse.widgets.jobs import Job
from kdcourse.widgets.storage import Run, RunFolder, RunSettings
from kdcourse.widgets.tuner_training import parameters, prepare_targets, train_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kdcourse.figures import RunCurve
    from kdcourse.training import History

_SMALL = 120_000  # parameters of the largest student offered by default
_DRAWN_EVERY = 0.35  # seconds between two drawings of the live curves
_LEARNS_FROM = [
    ("distilled: teacher and labels", "distilled"),
    ("labels alone", "labels"),
    ("teacher alone", "teacher"),
]
_STEPS = 40  # of a slider that isn't logarithmic


class DistillationTuner(TrainingWidget):
    """Train students with chosen settings; see `distillation_tuner`.

    Controls: ``learns_from``, ``method``, ``sliders`` (the chosen method's settings by name), ``alpha``, ``student``,
    ``epochs``, ``learning_rate``, ``seed``, ``twin``; ``train``, ``stop``, ``progress``; ``kept`` (the runs to
    compare), ``delete``, ``confirm``, ``cancel``.
    """

    def __init__(
        self,
        data: Dataset,
        teacher: nn.Module | SoftTargets,
        *,
        runs: Path | str | None = None,
        students: Sequence[str] | None = None,
        settings: RunSettings | None = None,
        examples: Mapping[str, History] | None = None,
        cache: Path | str | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(data, Dataset) or not isinstance(teacher, nn.Module | SoftTargets):
            raise ArgumentError(
                "The tuner needs a Dataset and a teacher (torch.nn.Module or SoftTargets); found "
                f"{type(data).__name__} and {type(teacher).__name__}."
            )
        start = RunSettings() if settings is None else settings
        names = (
            [n for n, size in models.names("classification").items() if size <= _SMALL]
            if students is None
            else list(students)
        )
        if start.student not in names:
            raise ArgumentError(f"The first student, {start.student!r}, must be one of {', '.join(names)}.")
        self._data, self._teacher, self._start = data, teacher, start
        self._targets = teacher if isinstance(teacher, SoftTargets) else None
        self._cache, self._options, self._examples = cache, options, dict(examples or {})
        self._folder = RunFolder(runs)
        self._runs, damaged = self._folder.load()
        self._live: Run | None = None
        self._unsaved: OSError | None = None
        self._lock = threading.Lock()  # `_runs` is replaced by the training thread and by the front end's
        self._make_controls(
            start, [(f"{name} ({parameters(name, data):,} parameters)", name) for name in names]
        )
        self._make_method_controls(start)
        self._stored = ipywidgets.VBox(
            [
                ipywidgets.HTML(
                    "<b>Your runs</b> with their validation accuracy (choose up to six, with Shift or Ctrl)"
                ),
                self.kept,
                row(self.delete, self.confirm, self.cancel),
                self.table,
            ]
        )
        self._offer(chosen=self._runs[-1:])
        super().__init__(
            "Distillation tuner",
            "Distillation tuner: an interactive widget that trains a student with the settings you choose.",
            [
                self.learns_from,
                self.method,
                self._shown_sliders,
                _columns(self.alpha, self.student, self.epochs, self.learning_rate, self.seed),
                self.twin,
                row(self.train, self.stop, self.progress),
                self._stored,
            ],
            pause=_DRAWN_EVERY,
        )
        self._connect()
        if damaged:
            self.say(
                f"{len(damaged)} stored run{'s' * (len(damaged) > 1)} can't be read and "
                f"{'were' if len(damaged) > 1 else 'was'} left in {self._folder.path}: {', '.join(damaged)}.",
                problem=True,
            )

    # -- controls ----------------------------------------------------------------------------

    def _make_controls(self, start: RunSettings, students: Sequence[tuple[str, str]]) -> None:
        self.learns_from = ipywidgets.RadioButtons(
            options=_LEARNS_FROM, value=start.learns_from, description="Learn from", style=WIDE
        )
        self.alpha = ipywidgets.FloatSlider(
            value=start.alpha,
            min=0.0,
            max=1.0,
            step=0.05,
            description="alpha",
            style=WIDE,
            layout=slider_layout(),
            continuous_update=False,
        )
        self.student = ipywidgets.Dropdown(
            options=students, value=start.student, description="Student", style=WIDE,
            layout=slider_layout(),
        )  # fmt: skip
        self.epochs = ipywidgets.IntSlider(
            value=start.epochs,
            min=1,
            max=max(20, start.epochs),
            description="Epochs",
            style=WIDE,
            layout=slider_layout(),
        )
        self.learning_rate = ipywidgets.FloatLogSlider(
            value=start.learning_rate, min=-3, max=0, step=0.05, description="Learning rate",
            readout_format=".3g", style=WIDE, layout=slider_layout(), continuous_update=False,
        )  # fmt: skip
        self.seed = ipywidgets.BoundedIntText(
            value=start.seed,
            min=0,
            max=9999,
            description="Seed",
            style=WIDE,
            layout=ipywidgets.Layout(width="16em"),
        )
        self.twin = ipywidgets.Checkbox(
            value=True,
            description="Also train a plain twin",
            indent=False,
            layout=ipywidgets.Layout(width="auto", max_width="100%"),
        )
        self.make_buttons("a fresh student with these settings")
        self.kept = ipywidgets.SelectMultiple(
            description="Runs", style=WIDE, rows=6, layout=ipywidgets.Layout(width="auto", max_width="100%")
        )
        self.delete = button("Delete the chosen runs…", "Asks before it deletes")
        self.confirm = button("Yes, delete them", "Deletes the chosen runs for good", button_style="danger")
        self.cancel = button("No, keep them", "Deletes nothing")
        self.table = ipywidgets.HTML()
        self._ask(False)

    def _make_method_controls(self, start: RunSettings) -> None:
        """Make the menu of methods, and a slider for each of their numeric settings."""
        # Features can't be stored, so that methods that compare them need the teacher itself.
        named = [methods.describe(name) for name in methods.names("labels")]
        offered = [each for each in named if each.layers is None or isinstance(self._teacher, nn.Module)]
        known = [each.name for each in offered]
        if start.method not in known:
            raise ArgumentError(f"The first method, {start.method!r}, must be one of {', '.join(known)}.")
        methods.build(start.method, **start.method_settings)
        self.method = ipywidgets.Dropdown(
            options=[(f"{each.title} ({each.name})", each.name) for each in offered], value=start.method,
            description="Method", style=WIDE, layout=ipywidgets.Layout(width="30em", max_width="100%"),
        )  # fmt: skip
        # Of each method its own: settings of one name have other defaults, and other ranges, in another method.
        self._sliders: dict[str, dict[str, ipywidgets.Widget]] = {
            each.name: {
                name: _slider(
                    each.name,
                    name,
                    default,
                    start.method_settings.get(name, default) if each.name == start.method else default,
                )
                for name, default in each.settings.items()
                if isinstance(default, int | float) and not isinstance(default, bool)
            }
            for each in offered
        }
        self._shown_sliders = _columns()

    def _connect(self) -> None:
        self.learns_from.observe(self._enable, "value")
        self.method.observe(self._enable, "value")
        self.kept.observe(self._choice_changed, "value")
        self.train.on_click(lambda _: self.start())
        self.delete.on_click(lambda _: self._ask(bool(self.kept.value)))
        self.confirm.on_click(lambda _: self._delete())
        self.cancel.on_click(lambda _: self._cancel())
        self._enable()

    def _enable(self, _change: object = None) -> None:
        shown = self.sliders
        self._shown_sliders.children = tuple(shown.values())
        for control in (self.method, *shown.values()):
            control.disabled = self.learns_from.value == "labels"
        self.alpha.disabled = self.learns_from.value != "distilled"
        self.twin.disabled = self.learns_from.value == "labels"

    @property
    def sliders(self) -> dict[str, ipywidgets.Widget]:
        """Return the sliders of the chosen method's settings, by name."""
        return self._sliders[self.method.value]

    @property
    def settings(self) -> RunSettings:
        """Return the settings that the controls show."""
        return RunSettings(
            learns_from=self.learns_from.value,
            student=self.student.value,
            method=self.method.value,
            method_settings={
                name: slider.value if isinstance(slider.value, int) else float(f"{slider.value:.4g}")
                for name, slider in self.sliders.items()
            },
            alpha=round(self.alpha.value, 4),
            epochs=self.epochs.value,
            learning_rate=float(f"{self.learning_rate.value:.4g}"),
            batch_size=self._start.batch_size,
            seed=self.seed.value,
        )

    # -- training ----------------------------------------------------------------------------

    def start(self) -> Job:
        """Train with the present settings, in the background, and the plain twin unless it was trained before."""
        settings, begun = self.settings, list[Run]()
        plan = [settings]
        if self.twin.value and settings.learns_from != "labels":
            twin = replace(settings, learns_from="labels")
            earlier = self._finished(twin)
            if earlier is None:
                plan.append(twin)
            elif earlier.identity not in self.kept.value:
                self.kept.value = (*self.kept.value, earlier.identity)
        self.say(f"Getting ready: {settings.name}.")
        return self.begin(
            lambda job: self._train(job, plan, begun), lambda job: self._ended(job, settings, begun)
        )

    def _finished(self, settings: RunSettings) -> Run | None:
        """Return a finished run of a plain student with these settings; those of its teacher don't matter."""

        def key(given: RunSettings) -> tuple[str, int]:
            return given.name, given.batch_size

        return next(
            (r for r in self._runs if r.state == "finished" and key(r.settings) == key(settings)), None
        )

    def _train(self, job: Job, plan: Sequence[RunSettings], begun: list[Run]) -> None:
        """Train the students of a plan; each run is stored as soon as it is finished."""
        for number, settings in enumerate(plan):
            self._train_one(job, settings, begun, number / len(plan), 1 / len(plan))
            self._store(begun[-1])

    def _train_one(self, job: Job, settings: RunSettings, begun: list[Run], done: float, part: float) -> None:
        """Train one student, a ``part`` of the whole plan, of which a share is ``done``."""
        teacher: SoftTargets | nn.Module | None = None
        if settings.learns_from != "labels":
            teacher = self._teacher
            if methods.describe(settings.method).layers is None:
                if self._targets is None:
                    self.say(
                        "Computing the teacher's predictions for every training image, once, or reading them."
                    )
                teacher = self._targets = prepare_targets(
                    self._targets or self._teacher, self._data, job.check, cache=self._cache
                )
            job.check()
        self.say(f"Training: {settings.name}.")

        def begin(run: Run) -> None:
            begun.append(run)
            self._live = run

        train_run(
            settings,
            self._data,
            teacher,
            begun=begin,
            after_step=lambda share: self.advance(job, done + part * share),
            **self._options,
        )

    def _ended(self, job: Job, settings: RunSettings, begun: Sequence[Run]) -> None:
        """Store an unfinished run, and report how training ended."""
        run = begun[-1] if begun else None
        if run is self._live:
            self._live = None
        name = settings.name if run is None else run.settings.name
        stored = any(run is each for each in self._runs)
        kept = stored or (run is not None and bool(run.losses or run.epochs or run.state == "diverged"))
        if job.error is not None:
            what = f"The incomplete run was stored: {name}." if kept else "The training ended early."
            self.say_error(job.error, what)
        elif not kept:
            self.say(f"Stopped before the first step, so there is nothing to store: {name}.")
        if run is not None and kept and not stored:
            if run.state != "diverged":
                run.state = "stopped"
            self._store(run)
        if kept and job.error is None:
            self.progress.value = 1.0 if job.outcome == "done" else self.progress.value
            ends = (
                f"{each.state.capitalize()}: {each.settings.name}. Validation accuracy: {_result(each)}."
                for each in begun
            )
            self.say(" ".join(ends))
        if self._unsaved is not None:
            self.say_error(self._unsaved, "The run is shown, but could not be stored on disk.")
            self._unsaved = None

    def _store(self, run: Run) -> None:
        """Store a run, and choose it among those that are shown."""
        try:
            self._folder.save(run)
        except OSError as error:
            self._unsaved = error
        with self._lock:
            self._runs = [*self._runs, run]
            chosen = [*self._chosen(), run]
        self._offer(chosen)

    # -- stored runs --------------------------------------------------------------------------

    @property
    def runs(self) -> tuple[Run, ...]:
        """Return all stored runs, oldest first."""
        return tuple(self._runs)

    def _chosen(self) -> list[Run]:
        return [run for run in self._runs if run.identity in self.kept.value]

    def _offer(self, chosen: Sequence[Run]) -> None:
        self.kept.options = [
            (f"{_result(run)}: {run.settings.name} ({_when(run)})", run.identity)
            for run in reversed(self._runs)
        ]
        self.kept.value = tuple(run.identity for run in chosen)
        self._stored.layout.display = "" if self._runs else "none"
        self._tabulate()

    def _choice_changed(self, _change: object = None) -> None:
        self._tabulate()
        self._ask(False)
        self.redraw()

    def _tabulate(self) -> None:
        self.table.value = _table(self._chosen())
        self.delete.disabled = not self.kept.value

    def _ask(self, whether: bool) -> None:
        for choice in (self.confirm, self.cancel):
            choice.layout.display = "" if whether else "none"
        if whether:
            count = len(self.kept.value)
            self.say(f"Delete {count} run{'s' * (count != 1)} for good?")

    def _cancel(self) -> None:
        self._ask(False)
        self.say("Nothing was deleted.")

    def _delete(self) -> None:
        deleted = self._chosen()
        try:
            for run in deleted:
                self._folder.delete(run)
        except OSError as error:
            self.say_error(error, "Not every run could be deleted.")
            return
        finally:
            self._ask(False)
        with self._lock:
            self._runs = [run for run in self._runs if run not in deleted]
        self._offer([])
        self.say(f"{len(deleted)} run{'s' * (len(deleted) != 1)} deleted.")

    def figure(self) -> Figure:
        """Return the curves of the chosen runs and of the one in training."""
        from kdcourse import figures

        chosen, live = self._chosen(), self._live
        shown = chosen[-(figures.MOST_RUNS - (live is not None)) :]
        curves = {
            f"{number}: {run.settings.name}": figures.RunCurve(
                list(run.losses), run.accuracies, "" if run.state == "finished" else run.state
            )
            for number, run in enumerate(shown, 1)
        }
        if live is not None:
            curves[f"now: {live.settings.name}"] = figures.RunCurve(
                list(live.losses), live.accuracies, "training"
            )
        if not curves:
            curves = {name: _curve(history) for name, history in self._examples.items()}
        if not curves:
            return figures.card(
                "No run yet",
                ["Choose settings and press Train: the student's curves appear here while it learns."],
            )
        return figures.run_curves(curves)


def distillation_tuner(
    data: Dataset,
    teacher: nn.Module | SoftTargets,
    *,
    runs: Path | str | None = None,
    students: Sequence[str] | None = None,
    settings: RunSettings | None = None,
    examples: Mapping[str, History] | None = None,
    cache: Path | str | None = None,
    **options: Any,
) -> DistillationTuner:
    """Return a widget that trains students with chosen settings, and compares the runs.

    The learner chooses method and its settings, alpha, student, epochs, learning rate and seed. Unless this is switched
    off, a plain student with the same settings is trained, too, so that each run is a comparison. Training happens in
    the background and can be stopped; one student trains at a time, and the latest request wins. Every run, finished,
    stopped or diverged, is stored on disk and shown again when the notebook is reopened.

    Args:
        data: students are trained on its training split and evaluated on its validation split.
        teacher: a trained network or `Ensemble`, whose predictions are computed once; or `SoftTargets` of
            ``data.train``, with which methods that compare features aren't offered.
        runs: folder of the runs; by default ``$KDCOURSE_RUNS`` or the user's data folder, and ``tuner`` in it.
        students: names of `kdcourse.models.build` to choose from; by default all with up to 120,000 parameters.
        settings: first values of the controls.
        examples: histories by name, shown until there is a run.
        cache: folder of stored soft targets, see `kdcourse.distillation.soft_targets`.
        options: further `kdcourse.training.Settings`, such as ``optimizer``.

    Raises:
        ArgumentError: data or teacher of another type, a student or method that doesn't exist or isn't offered.
    """
    return DistillationTuner(
        data,
        teacher,
        runs=runs,
        students=students,
        settings=settings,
        examples=examples,
        cache=cache,
        **options,
    )


def _columns(*children: ipywidgets.Widget) -> ipywidgets.GridBox:
    """Return controls in as many columns as there is space for, one below the other."""
    columns = "repeat(auto-fill, minmax(min(100%, 31em), 1fr))"
    layout = ipywidgets.Layout(width="100%", grid_template_columns=columns, align_items="center")
    return ipywidgets.GridBox(children, layout=layout)


def _slider(method: str, name: str, default: float, value: float) -> ipywidgets.Widget:
    """Return a slider for a method's setting: 0 to 4 times its default, as far as the method takes it.

    Temperatures reach from 0.5 to 20, or where that doesn't hold the value, from a tenth of it to ten times as much.
    """
    shared = {"style": WIDE, "layout": slider_layout(), "continuous_update": False}
    if name == "temperature":
        ends, power = TEMPERATURE, math.log10(value)
        if not ends["min"] <= power <= ends["max"]:
            ends = ends | {"min": power - 1, "max": power + 1}
        return ipywidgets.FloatLogSlider(value=value, **ends, **shared)
    most = max(4 * default, value) or 1
    shared |= {"description": name.replace("_", " ").capitalize(), "value": value, "max": most}
    if isinstance(default, int):
        return ipywidgets.IntSlider(min=min(1, default), **shared)
    step = most / _STEPS
    taken = [place * step for place in range(_STEPS + 1) if _takes(method, name, place * step)]
    shared |= {"min": min([*taken, value]), "max": max([*taken, value])}
    return ipywidgets.FloatSlider(step=step, readout_format=".3g", **shared)


def _takes(method: str, name: str, value: float) -> bool:
    try:
        methods.build(method, **{name: value})
    except ArgumentError:
        return False
    return True


def _result(run: Run) -> str:
    if run.accuracies:
        epoch, accuracy = run.accuracies[-1]
        reached = f"{100 * accuracy:.2f} % after epoch {epoch}"
    else:
        reached = "no epoch complete"
    return f"diverged, {reached}" if run.state == "diverged" else reached


def _when(run: Run) -> str:
    return datetime.fromisoformat(run.started).astimezone().strftime("%d %b %H:%M:%S")


def _curve(history: History) -> RunCurve:
    from kdcourse.figures import RunCurve

    return RunCurve(
        [(record.epoch, record.train_loss) for record in history.epochs],
        [(r.epoch, r.validation_accuracy) for r in history.epochs if r.validation_accuracy is not None],
    )


def _table(runs: Sequence[Run]) -> str:
    """Return the chosen runs as an HTML table; accuracies are of the last epoch, never of the best one."""
    if not runs:
        return ""
    head = (
        "",
        "when",
        "learns from",
        "student",
        "method",
        "alpha",
        "rate",
        "seed",
        "epochs",
        "validation accuracy",
        "",
    )
    rows = []
    for number, run in enumerate(runs, 1):
        s, accuracy = run.settings, f"{100 * run.accuracies[-1][1]:.2f} %" if run.accuracies else "–"
        cells = (
            number, _when(run), dict((value, text) for text, value in _LEARNS_FROM)[s.learns_from], s.student,
            "–" if s.learns_from == "labels" else f"{s.method}{s.described_settings}",
            f"{s.alpha:g}" if s.learns_from == "distilled" else "–",
            f"{s.learning_rate:.3g}", s.seed, f"{len(run.epochs)} of {s.epochs}", accuracy, run.state,
        )  # fmt: skip
        rows.append("".join(f"<td style='padding:0 .6em'>{escape(str(cell))}</td>" for cell in cells))
    heads = "".join(
        f"<th scope='col' style='padding:0 .6em;text-align:left'>{escape(text)}</th>" for text in head
    )
    body = "".join(f"<tr>{cells}</tr>" for cells in rows)
    return (
        '<div class="kdcourse-wide" role="region" tabindex="0" aria-label="Comparison"><table>'
        f"<caption>The chosen runs, oldest first</caption><tr>{heads}</tr>{body}</table></div>"
    )
