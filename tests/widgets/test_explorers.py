"""The widgets that look and don't train, driven through their traits, as a front end would."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import Any

import pytest
import torch

from kdcourse import evaluation, widgets
from kdcourse.distillation import entropy
from kdcourse.errors import ArgumentError
from kdcourse.widgets.base import CourseWidget
from tests.widgets.tiny import CLASS_NAMES, LONG, NAMES, bundle_of, task, until

# -- temperature explorer --------------------------------------------------------------------


def explorer(**options: Any) -> Any:
    images, labels, logits = task(**options)
    return widgets.temperature_explorer(images, logits, labels, CLASS_NAMES, NAMES[: len(logits)])


def alt(widget: CourseWidget) -> str:
    assert widget.settle(LONG)
    return bundle_of(widget)[1]["image/png"]["alt"]


def test_explorer_shows_picture_temperature_and_entropy() -> None:
    _, labels, logits = task()
    widget = explorer()
    before = widget.drawing.value
    widget.index.value = 7
    widget.temperature.value = 4.0
    text = alt(widget)
    assert widget.drawing.value != before
    assert f"labelled {CLASS_NAMES[labels[7]]}" in text and "temperature 4" in text
    for position, name in enumerate(NAMES):
        assert re.search(rf"{name}: .*?entropy {float(entropy(logits[position, 7], 4.0)):.2f} nats", text)
    assert f"entropy {float(entropy(logits[:, 7].mean(0), 4.0)):.2f} nats." in text.split("ensemble:")[1]
    assert "&lt;lower&gt;" in widget.words.value or "<lower>" not in widget.words.value


def test_explorer_steps_through_the_pictures_and_around() -> None:
    widget = explorer()
    widget.before.click()
    assert widget.index.value == 39
    widget.after.click()
    widget.after.click()
    assert widget.index.value == 1 and widget.settle(LONG)
    assert (widget.temperature.min, widget.temperature.max) == pytest.approx((-0.30103, 1.30103))


def test_a_dragged_slider_ends_at_its_last_value_with_few_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    widget = explorer()
    drawn: list[float] = []
    figure = widget.figure
    monkeypatch.setattr(widget, "figure", lambda: (drawn.append(widget.temperature.value), figure())[1])
    for step in range(60):
        widget.temperature.value = 1 + step / 10
    widget.temperature.value = 9.5
    assert "temperature 9.5" in alt(widget)
    assert drawn[-1] == 9.5 and len(drawn) < 30


def test_one_teacher_and_one_picture_will_do() -> None:
    images, labels, logits = task(1, 1)
    widget = widgets.temperature_explorer(images, logits, labels, CLASS_NAMES)
    assert "ensemble" not in alt(widget) and "teacher 1" in alt(widget) and widget.index.disabled
    widget.after.click()
    assert widget.settle(LONG) and widget.status.value == ""


def test_a_failing_drawing_is_told_in_the_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    widget = explorer()

    def fail() -> None:
        raise RuntimeError("the <pen> broke")

    monkeypatch.setattr(widget, "figure", fail)
    widget.temperature.value = 2.0
    assert widget.settle(LONG)
    assert (
        'role="alert"' in widget.status.value and "RuntimeError: the &lt;pen&gt; broke" in widget.status.value
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"images": a["images"].float()}, "images must be a uint8 tensor"),
        (lambda a: a | {"labels": a["labels"][:5]}, r"labels must be integers \[40\]"),
        (lambda a: a | {"labels": a["labels"] + 1}, "labels must lie in 0..3"),
        (lambda a: a | {"member_logits": a["member_logits"][0]}, "member_logits must be"),
        (lambda a: a | {"member_logits": a["member_logits"][:, :9]}, r"must be \[members, 40, 4\]"),
        (lambda a: a | {"member_logits": a["member_logits"] * torch.nan}, "must be finite"),
        (lambda a: a | {"classes": CLASS_NAMES[:3]}, "labels must lie in 0..2"),
        (lambda a: a | {"names": ["a", "a", "b"]}, "names must be 3 different ones"),
    ],
)
def test_explorer_refuses_what_does_not_fit(change: Any, message: str) -> None:
    images, labels, logits = task()
    good = {
        "images": images,
        "member_logits": logits,
        "labels": labels,
        "classes": CLASS_NAMES,
        "names": None,
    }
    with pytest.raises(ArgumentError, match=message):
        widgets.temperature_explorer(**change(good))


# -- ensemble explorer -----------------------------------------------------------------------


def test_ensemble_explorer_scores_the_ticked_members() -> None:
    _, labels, logits = task()
    widget = widgets.ensemble_explorer(logits, labels, CLASS_NAMES, NAMES)
    assert f"accuracy {100 * evaluation.accuracy(logits.mean(0), labels):.2f} %" in widget.status.value
    widget.boxes[1].value = False
    widget.average.value = "probabilities"
    assert widget.settle(LONG)
    mean = logits[[0, 2]].softmax(-1).mean(0).log()
    assert widget.chosen == (0, 2)
    assert f"accuracy {100 * evaluation.accuracy(mean, labels):.2f} %" in widget.status.value
    assert (
        f"(ECE) {100 * evaluation.expected_calibration_error(mean, labels):.2f} points" in widget.status.value
    )
    apart = 100 * (logits[0].argmax(1) != logits[2].argmax(1)).double().mean()
    assert f"differ on {apart:.1f} %" in widget.status.value
    assert "one and three, mean of probabilities" in alt(widget)


def test_ensemble_explorer_of_one_and_of_none() -> None:
    _, labels, logits = task()
    widget = widgets.ensemble_explorer(logits, labels, CLASS_NAMES)
    widget.boxes[0].value = widget.boxes[2].value = False
    assert widget.settle(LONG) and "has no disagreement" in widget.status.value
    widget.boxes[1].value = False
    assert widget.settle(LONG)
    assert "Tick at least one teacher" in widget.status.value and "teacher 2" in alt(widget)
    widget.boxes[1].value = True
    until(lambda: "1 member:" in widget.status.value)


def test_ensemble_explorer_refuses_what_does_not_fit() -> None:
    _, labels, logits = task()
    with pytest.raises(ArgumentError, match="4 classes"):
        widgets.ensemble_explorer(logits, labels, CLASS_NAMES[:3])
    with pytest.raises(ArgumentError, match="labels must have shape"):
        widgets.ensemble_explorer(logits, labels[:3], CLASS_NAMES)


# -- mistake browser -------------------------------------------------------------------------


def browser() -> tuple[Any, dict[str, torch.Tensor], torch.Tensor]:
    images, labels, logits = task(200)
    named = dict(zip(("teacher", "plain", "distilled"), logits, strict=True))
    return widgets.mistake_browser(images, labels, CLASS_NAMES, named), named, labels


def test_browser_filters_by_who_errs() -> None:
    widget, named, labels = browser()
    errs = {name: logits.argmax(1) != labels for name, logits in named.items()}
    anybody = torch.stack(list(errs.values())).any(0)
    assert widget.found == anybody.nonzero()[:, 0].tolist()
    widget.filters["teacher"].value = "right"
    widget.filters["distilled"].value = "wrong"
    expected = (~errs["teacher"] & errs["distilled"]).nonzero()[:, 0].tolist()
    assert widget.found == expected and 0 < len(expected) < int(anybody.sum())
    assert f"{len(expected)} images of 200" in widget.status.value
    assert f"labelled {CLASS_NAMES[labels[expected[0]]]}" in alt(widget)


def test_browser_filters_by_pair_of_classes_and_keeps_the_pair() -> None:
    widget, named, labels = browser()
    widget.filters["plain"].value = "wrong"
    label, said = widget.pair.options[1][1]
    widget.pair.value = (label, said)
    expected = ((labels == label) & (named["plain"].argmax(1) == said)).nonzero()[:, 0].tolist()
    assert widget.found == expected and expected
    assert f"({len(expected)})" in widget.pair.options[1][0]
    widget.filters["teacher"].value = "wrong"
    assert widget.pair.value in [(label, said), "either"]
    assert all(labels[position] == label for position in widget.found) or widget.pair.value == "either"
    assert widget.settle(LONG)


def test_browser_walks_and_says_when_nothing_is_left() -> None:
    widget, _, _ = browser()
    last = len(widget.found)
    widget.before.click()
    assert widget.index.value == last
    widget.after.click()
    assert widget.index.value == 1
    for control in widget.filters.values():
        control.value = "right"
    assert widget.found == [] and "No image" in alt(widget)
    assert "0 images of 200" in widget.status.value and widget.after.disabled
    widget.after.click()
    widget.filters["plain"].value = "either"
    assert widget.found and not widget.after.disabled and widget.settle(LONG)


def test_browser_refuses_what_does_not_fit() -> None:
    images, labels, logits = task()
    for bad, message in (
        ({}, "at least one model"),
        ({"a": logits[0][:3]}, "must be \\[40, classes\\]"),
        ({"a": logits[0][:, :3]}, "with 4 columns"),
        ({"a": logits[0] * torch.inf}, "must be finite"),
    ):
        with pytest.raises(ArgumentError, match=message):
            widgets.mistake_browser(images, labels, CLASS_NAMES, bad)


# -- what their front ends get -----------------------------------------------------------------


def test_front_ends_get_the_pixels_and_the_numbers() -> None:
    images, labels, logits = task()
    state = json.loads(json.dumps(explorer().state()))
    pixels = zlib.decompress(base64.b64decode(state["images"]))
    assert pixels == images.numpy().tobytes() and state["size"] == list(images.shape[2:])
    assert torch.allclose(torch.tensor(state["logits"]), logits, atol=6e-4)
    assert torch.allclose(torch.tensor(state["ensemble"]), logits.mean(dim=0), atol=6e-4)
    assert state["labels"] == labels.tolist()


def test_the_ensembles_front_end_gets_every_ensemble() -> None:
    _, labels, logits = task()
    state = json.loads(json.dumps(widgets.ensemble_explorer(logits, labels, CLASS_NAMES).state()))
    assert len(state["ensembles"]) == 2 * 7
    scores = evaluation.member_scores(logits, labels, (0, 2), "probabilities")
    assert state["ensembles"]["probabilities 0 2"] == [scores.accuracy, scores.calibration_error]
    assert state["accuracy"] == list(scores.member_accuracy)


def test_the_browsers_front_end_gets_the_mistakes_alone() -> None:
    widget, logits, labels = browser()
    state = json.loads(json.dumps(widget.state()))
    mistakes = evaluation.find_mistakes(labels, logits)
    assert 0 < len(mistakes) < len(labels) == state["count"]
    assert state["labels"] == labels[mistakes].tolist() and state["names"] == list(logits)
    said = torch.tensor(state["logits"]).argmax(dim=2)
    assert torch.equal(said, torch.stack([each[mistakes].argmax(dim=1) for each in logits.values()]))


# -- all of them -----------------------------------------------------------------------------


def test_sentences_are_the_same_whatever_is_shown() -> None:
    first, second = explorer(), explorer(pictures=5, members=1)
    assert bundle_of(first)[0]["text/plain"] == bundle_of(second)[0]["text/plain"]


def test_a_closed_widget_draws_no_more_and_closes_twice() -> None:
    widget = explorer()
    children = list(widget.children)
    widget.close()
    before = widget.drawing.value
    widget.temperature.value = 3.0
    assert widget.settle(LONG) and widget.drawing.value == before
    assert all(child.comm is None for child in children)
    widget.close()


def test_what_ipywidgets_7_would_do_by_itself_is_off() -> None:
    assert CourseWidget._ipython_display_ is None
