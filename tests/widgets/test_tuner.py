"""The tuner trains for real, in the background, one student at a time, and forgets nothing."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

from kdcourse import widgets
from kdcourse.distillation import SoftTargets, distil, methods, soft_targets
from kdcourse.errors import ArgumentError
from kdcourse.training import History
from kdcourse.widgets import RunSettings
from kdcourse.widgets.jobs import trainings
from kdcourse.widgets.storage import RunFolder
from kdcourse.widgets.tuner import DistillationTuner
from kdcourse.widgets.tuner_training import fresh_student, train_run
from tests.distillation.tiny import constant_teacher, dataset, quarter_reader
from tests.widgets.tiny import LONG, bundle_of, until

QUICK = RunSettings(epochs=2, batch_size=16, learning_rate=0.05)
ENDLESS = replace(QUICK, epochs=1_000_000)


def targets() -> SoftTargets:
    data = dataset()
    return soft_targets(quarter_reader(), data.train, data, cache=False, progress=False)


def tuner(
    settings: RunSettings = QUICK, teacher: Any = None, *, twin: bool = False, **options: Any
) -> DistillationTuner:
    widget = widgets.distillation_tuner(dataset(), teacher or targets(), settings=settings, **options)
    widget.twin.value = twin
    return widget


def alt(widget: DistillationTuner) -> str:
    assert widget.settle(LONG)
    return bundle_of(widget)[1]["image/png"]["alt"]


def trained(widget: DistillationTuner) -> None:
    widget.train.click()
    assert widget.wait(LONG)


def test_a_run_is_trained_shown_and_kept() -> None:
    widget = tuner()
    assert "No run yet" in alt(widget) and widget.stop.disabled
    trained(widget)
    (run,) = widget.runs
    assert run.state == "finished" and run.settings == QUICK and len(run.epochs) == 2
    assert "Finished" in widget.status.value and widget.stop.disabled and widget.progress.value == 1.0
    accuracy = f"{100 * run.accuracies[-1][1]:.2f} %"
    assert (
        accuracy in widget.table.value and accuracy in alt(widget) and accuracy in widget.kept.options[0][0]
    )
    assert RunFolder().load() == ([run], [])


@pytest.mark.slow
def test_a_plain_twin_is_trained_along_once() -> None:
    widget = tuner(twin=True)
    assert widget._stored.layout.display == "none"  # there is no run to choose
    shares: list[float] = []
    widget.progress.observe(lambda change: shares.append(change.new), "value")
    trained(widget)
    distilled, plain = widget.runs
    assert plain.settings == replace(distilled.settings, learns_from="labels")
    assert plain.losses == train_run(plain.settings, dataset(), None).losses
    assert [run.state for run in widget.runs] == ["finished"] * 2 and widget._stored.layout.display == ""
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert "1: distilled" in alt(widget) and "2: labels alone" in alt(widget)
    assert widget.status.value.count("Finished: ") == 2

    widget.kept.value = ()
    widget.alpha.value = 0.5
    trained(widget)  # another student of the teacher, the same plain one
    assert [run.settings.learns_from for run in widget.runs] == ["distilled", "labels", "distilled"]
    assert [run.settings.learns_from for run in widget._chosen()] == ["labels", "distilled"]
    widget.learning_rate.value = 0.01
    trained(widget)
    assert len(widget.runs) == 5


def test_a_twin_that_is_stopped_leaves_the_finished_run() -> None:
    widget = tuner(replace(QUICK, epochs=1), twin=True)
    begin = widget._train_one

    def stop_second(job: Any, settings: RunSettings, *rest: Any) -> None:
        if settings.learns_from == "labels":
            job.stop()
        begin(job, settings, *rest)

    widget._train_one = stop_second  # type: ignore[method-assign]
    trained(widget)
    assert widget.runs[0].state == "finished"
    assert all(run.state == "stopped" for run in widget.runs[1:])


def test_controls_become_settings() -> None:
    widget = tuner(replace(QUICK, seed=7))
    widget.learns_from.value = "teacher"
    assert widget.alpha.disabled and not widget.sliders["temperature"].disabled
    widget.learns_from.value = "labels"
    assert widget.alpha.disabled and widget.sliders["temperature"].disabled
    widget.learns_from.value = "distilled"
    assert not widget.alpha.disabled
    widget.sliders["temperature"].value, widget.alpha.value = 10.0, 0.3
    widget.student.value, widget.epochs.value, widget.learning_rate.value = "mlp_109k", 5, 0.01
    assert widget.settings == RunSettings(
        "distilled", "mlp_109k", "kd", {"temperature": 10.0}, 0.3, 5, 0.01, 16, 7
    )
    assert (
        "mlp_25k (2,212 parameters)",
        "mlp_25k",
    ) in widget.student.options  # for 8x8 pictures of 4 classes
    assert all("teacher" not in name and "unet" not in name for name, _ in widget.student.options)


@pytest.mark.slow
@pytest.mark.parametrize("learns_from", ["labels", "teacher"])
def test_students_of_labels_or_teacher_alone_train_too(learns_from: str) -> None:
    widget = tuner(replace(QUICK, learns_from=learns_from))
    trained(widget)
    assert widget.runs[0].settings.learns_from == learns_from and widget.runs[0].state == "finished"
    soft = None if learns_from == "labels" else targets()
    expected = train_run(widget.runs[0].settings, dataset(), soft)
    assert widget.runs[0].losses == expected.losses


def test_stop_ends_a_training_at_its_next_step_and_keeps_it() -> None:
    widget = tuner(ENDLESS)
    widget.train.click()
    until(lambda: widget._live is not None and len(widget._live.epochs) > 2)
    until(lambda: "now:" in widget._alt)
    assert not widget.stop.disabled
    widget.stop.click()
    assert widget.wait(LONG)
    (run,) = widget.runs
    assert run.state == "stopped" and run.epochs and "Stopped" in widget.status.value and widget.stop.disabled
    assert "stopped" in alt(widget) and "now:" not in alt(widget)
    assert RunFolder().load()[0] == [run]
    widget.stop.click()
    assert "Stopped:" in widget.status.value


def test_pressing_train_again_and_again_trains_one_at_a_time_and_the_last_one_to_its_end() -> None:
    widget = tuner(ENDLESS)
    for _ in range(5):
        widget.train.click()
    until(lambda: widget._live is not None and len(widget._live.losses) > 0)
    widget.epochs.value = 2
    widget.train.click()
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("kdcourse training") == 1
    assert widget.wait(LONG)
    assert [run.state for run in widget.runs][-1] == "finished" and widget.runs[-1].settings.epochs == 2
    assert all(run.state == "stopped" for run in widget.runs[:-1])
    assert widget.stop.disabled and widget._live is None


def test_another_widget_takes_the_place_of_what_trains() -> None:
    first, second = tuner(ENDLESS), tuner()
    first.train.click()
    until(lambda: first._live is not None and len(first._live.losses) > 0)
    trained(second)
    assert first.wait(LONG) and first.runs[-1].state == "stopped" and first.stop.disabled
    assert second.runs[-1].state == "finished"


def test_closing_mid_training_leaves_no_thread() -> None:
    widget = tuner(ENDLESS)
    widget.train.click()
    until(lambda: widget._live is not None and len(widget._live.losses) > 0)
    widget.close()
    assert not [thread.name for thread in threading.enumerate() if "kdcourse" in thread.name]
    assert not trainings.busy


@pytest.mark.slow
def test_runs_are_there_after_a_restart_and_can_be_compared() -> None:
    first = tuner()
    trained(first)
    first.sliders["temperature"].value = 8.0
    trained(first)
    first.close()
    again = tuner()
    assert [run.settings.method_settings["temperature"] for run in again.runs] == [4.0, 8.0]
    assert "T=8" in alt(again) and "T=4" not in alt(again)
    again.kept.value = tuple(run.identity for run in again.runs)
    assert "T=8" in alt(again) and "T=4" in alt(again)
    assert again.table.value.count("<tr>") == 3
    again.kept.value = ()
    assert "No run yet" in alt(again) and again.delete.disabled


@pytest.mark.slow
def test_deleting_asks_first() -> None:
    widget = tuner()
    trained(widget)
    trained(widget)
    assert widget.confirm.layout.display == "none"
    widget.kept.value = (widget.runs[0].identity,)
    widget.delete.click()
    assert widget.confirm.layout.display != "none" and "Delete 1 run for good?" in widget.status.value
    widget.cancel.click()
    assert len(widget.runs) == 2 and widget.confirm.layout.display == "none"
    kept = widget.runs[1]
    widget.delete.click()
    widget.confirm.click()
    assert widget.runs == (kept,) and RunFolder().load() == ([kept], [])
    assert "1 run deleted" in widget.status.value
    assert widget.settle(LONG)


def test_a_damaged_run_is_told_of_and_left_in_place(tmp_path: Path) -> None:
    bad = tmp_path / "20260101-broken.json"
    bad.write_text("{")
    widget = tuner(runs=tmp_path)
    assert bad.name in widget.status.value and "left in" in widget.status.value and bad.read_text() == "{"
    trained(widget)
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_a_folder_that_can_not_be_written_loses_no_run(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    widget = tuner(runs=file)
    trained(widget)
    assert len(widget.runs) == 1 and "could not be stored on disk" in widget.status.value


def test_what_goes_wrong_in_the_background_is_told_in_the_widget() -> None:
    widget = tuner(teacher=constant_teacher())
    trained(widget)
    assert 'role="alert"' in widget.status.value and "the same logits" in widget.status.value
    assert widget.runs == () and widget.stop.disabled
    widget = tuner(replace(QUICK, learning_rate=1.0), optimizer="no such")
    trained(widget)
    assert "The training ended early" in widget.status.value and widget._live is None


@pytest.mark.slow
def test_a_run_that_diverges_is_kept_shown_and_compared() -> None:
    widget = tuner(replace(QUICK, epochs=5))
    trained(widget)
    finished = widget.runs[0]
    widget.learns_from.value, widget.sliders["temperature"].value, widget.learning_rate.value = (
        "teacher",
        20.0,
        1.0,
    )
    trained(widget)
    good, bad = widget.runs
    assert good == finished and bad.state == "diverged" and bad.settings.learns_from == "teacher"
    assert bad.losses and all(isfinite(loss) for _, loss in bad.losses) and len(bad.epochs) < 5
    assert (
        "The incomplete run was stored" in widget.status.value
        and "third of the learning rate" in widget.status.value
    )
    assert 'role="alert"' in widget.status.value and widget.stop.disabled and widget.progress.value < 1
    assert widget.kept.options[0][0].startswith("diverged") and len(widget.kept.value) == 2
    assert ">diverged<" in widget.table.value and ">finished<" in widget.table.value
    assert "teacher alone T=20" in alt(widget) and "diverged, training loss at last" in alt(widget)
    assert RunFolder().load() == ([good, bad], [])
    widget.close()
    again = tuner()
    assert again.runs == (good, bad) and "diverged" in alt(again)


def test_a_training_that_ends_in_another_error_keeps_its_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    widget = tuner(ENDLESS)
    advance, told = widget.advance, []

    def fail_in_the_third_epoch(job: Any, share: float) -> None:
        told.append(share)
        if len(told) == 10:
            raise MemoryError("no room left")
        advance(job, share)

    monkeypatch.setattr(widget, "advance", fail_in_the_third_epoch)
    trained(widget)
    (run,) = widget.runs
    assert run.state == "stopped" and len(run.epochs) == 2 and "no room left" in widget.status.value
    assert run.losses[-1][0] == 2.5 and RunFolder().load() == ([run], [])


@pytest.mark.slow
def test_a_teacher_is_asked_once_for_all_runs() -> None:
    teacher, asked = quarter_reader(), []
    teacher.register_forward_hook(lambda *_: asked.append(1))
    widget = tuner(teacher=teacher)
    trained(widget)
    first = len(asked)
    trained(widget)
    assert first > 0 and len(asked) == first and len(widget.runs) == 2


def test_stop_reaches_the_asking_of_the_teacher() -> None:
    teacher, asked = quarter_reader(), threading.Event()

    def slow(*_: object) -> None:
        asked.set()
        time.sleep(0.01)

    teacher.register_forward_hook(slow)
    widget = tuner(teacher=teacher)
    widget.train.click()
    assert asked.wait(LONG)
    widget.stop.click()
    assert widget.wait(LONG)
    assert ("nothing to store" in widget.status.value and widget.runs == ()) or widget.runs[
        0
    ].state == "stopped"


def test_examples_stand_in_until_there_is_a_run() -> None:
    record = train_run(QUICK, dataset(), targets()).epochs
    widget = tuner(examples={"plain": History({}, record[:1]), "distilled": History({}, record)})
    assert "plain: training loss now" in alt(widget) and "distilled: training loss now" in alt(widget)
    trained(widget)
    assert "plain" not in alt(widget)


@pytest.mark.slow
def test_no_more_than_six_runs_are_drawn_and_the_live_one_among_them() -> None:
    folder = RunFolder()
    run = train_run(replace(QUICK, epochs=1), dataset(), targets())
    for number in range(8):
        folder.save(replace(run, settings=replace(run.settings, seed=number), identity=f"{number:08d}"))
    widget = tuner(ENDLESS)
    widget.kept.value = tuple(run.identity for run in widget.runs)
    assert "of six runs" in alt(widget)
    widget.train.click()
    until(lambda: "now:" in widget._alt)
    assert "of six runs" in widget._alt
    widget.stop.click()
    assert widget.wait(LONG)


def test_tuner_refuses_what_does_not_fit() -> None:
    for data, teacher, options, message in (
        (None, targets(), {}, "needs a Dataset"),
        (dataset(), "teacher_1", {}, "needs a Dataset and a teacher"),
        (dataset(), targets(), {"students": ["pocket_2k"]}, "must be one of pocket_2k"),
        (dataset(), targets(), {"students": ["mlp_25k", "no_such"]}, "There is no model"),
        (dataset(), targets(), {"settings": replace(QUICK, method="no_such")}, "must be one of .*kd"),
        (
            dataset(),
            targets(),
            {"settings": replace(QUICK, method_settings={"beta": 1})},
            "settings are temperature",
        ),
    ):
        with pytest.raises(ArgumentError, match=message):
            widgets.distillation_tuner(data, teacher, **options)  # type: ignore[arg-type]


def test_the_end_of_an_interrupted_training_leaves_the_next_one_its_stop_button() -> None:
    widget = tuner(ENDLESS)
    widget.train.click()
    until(lambda: widget._live is not None and len(widget._live.losses) > 0)
    first = widget._live
    widget.train.click()
    until(lambda: widget._live is not None and widget._live is not first and len(widget._live.losses) > 0)
    assert len(widget.runs) == 1 and not widget.stop.disabled and "Training" in widget.status.value
    widget.stop.click()
    assert widget.wait(LONG) and len(widget.runs) == 2 and widget.stop.disabled


def _linear(widget: DistillationTuner) -> dict[str, Any]:
    return {key: one for key, one in widget.sliders.items() if not isinstance(one, ipywidgets.FloatLogSlider)}


def test_the_menu_of_methods_is_the_registry_and_its_sliders_are_their_settings() -> None:
    widget = tuner(teacher=quarter_reader())
    offered = [name for _, name in widget.method.options]
    assert offered == list(methods.names("labels"))
    for name in offered:
        widget.method.value = name
        for key, slider in _linear(widget).items():
            for end in (slider.min, slider.max):
                methods.build(name, **{key: end})  # isn't refused
        for key, value in widget.settings.method_settings.items():
            assert value == pytest.approx(methods.settings_of(name)[key]), (
                "untouched, a slider shows the default"
            )
        numbers = [key for key, default in methods.settings_of(name).items() if not isinstance(default, bool)]
        assert [*widget.settings.method_settings] == numbers
        shown = widget._shown_sliders.children
        assert shown == tuple(widget.sliders[key] for key in numbers) and all(
            one.description for one in shown
        )
    # Features aren't stored: with soft targets, methods that compare them can't be chosen.
    stored = [name for name in offered if methods.describe(name).layers is None]
    assert [name for _, name in tuner().method.options] == stored


def test_a_run_of_another_method_trains_by_its_sliders_and_is_kept() -> None:
    widget = tuner()
    widget.method.value = "dkd"
    widget.sliders["beta"].value, widget.sliders["temperature"].value = 3, 2.0
    trained(widget)
    (run,) = widget.runs
    assert run.state == "finished" and run.settings.method == "dkd"
    assert run.settings.method_settings["beta"] == 3 and run.settings.method_settings["temperature"] == 2.0
    assert "by dkd T=2" in run.settings.name and "beta=3" in widget.table.value and "beta=3" in alt(widget)
    assert RunFolder().load() == ([run], [])
    history = distil(
        fresh_student("mlp_25k", dataset()), targets(), dataset(), method="dkd", alpha=0.9, epochs=2, batch_size=16,
        learning_rate=0.05, seed=0, precision="float32", progress=False, **run.settings.method_settings,
    )  # fmt: skip
    assert history.column("train_loss") == [record.train_loss for record in run.epochs]
