"""The threshold explorer: what a threshold amounts to, and the widget driven as a front end would."""

from __future__ import annotations

import base64
import json
import math
import sys
import zlib
from typing import Any

import ipywidgets
import pytest
import torch
from torch import Tensor

from kdcourse import evaluation, widgets
from kdcourse.errors import ArgumentError
from kdcourse.widgets import front
from kdcourse.widgets.threshold import class_probability, first_foreground, point_at
from tests.widgets.tiny import LONG, bundle_of, scenes

# Curves hold rounded scores: at these thresholds, and at 0.5 for the dress of the teachers, no score of the
# tests' scenes is near enough for it to matter.
CLEAR = [0.0, 0.34, 0.44, 0.66, 0.95, 1.0]

# -- without a widget ------------------------------------------------------------------------


def counted(probability: Tensor, masks: Tensor, label: int, threshold: float) -> tuple[float, float, float]:
    """Precision, recall and IoU, pixel by pixel."""
    right = wrong = missed = 0
    for p, true in zip(probability.flatten().tolist(), masks.flatten().tolist(), strict=True):
        if true != 255:
            right += p >= threshold and true == label
            wrong += p >= threshold and true != label
            missed += p < threshold and true == label
    union = right + wrong + missed
    return (
        right / (right + wrong) if right + wrong else 1.0,
        right / (right + missed) if right + missed else math.nan,
        right / union if union else math.nan,
    )


@pytest.mark.parametrize("threshold", CLEAR)
@pytest.mark.parametrize("label", [0, 1, 2])
@pytest.mark.parametrize("name", ["teachers", "student"])
def test_a_point_is_what_counting_gives(name: str, label: int, threshold: float) -> None:
    _, masks, logits, _ = scenes()
    curve = evaluation.precision_recall(logits[name], masks).per_class[label]
    probability = torch.stack([class_probability(one, label) for one in logits[name]])
    everywhere = counted(probability, masks, label, threshold)
    for at, mask in enumerate(masks):
        point = point_at(threshold, curve, probability[at], mask, label)
        assert (point.precision, point.recall, point.iou) == pytest.approx(everywhere)
        here = counted(probability[at], mask, label, threshold)[2]
        assert point.image_iou == pytest.approx(here, nan_ok=True)


def test_a_probability_of_just_the_threshold_is_called() -> None:
    _, masks, logits, _ = scenes()
    curve = evaluation.precision_recall(logits["teachers"], masks).per_class[1]
    probability = torch.tensor([[0.25, 0.5], [0.75, 0.5]], dtype=torch.float64)
    mask = torch.tensor([[1, 1], [1, 255]], dtype=torch.uint8)
    assert point_at(0.5, curve, probability, mask, 1).image_iou == pytest.approx(2 / 3)
    assert point_at(0.75, curve, probability, mask, 1).image_iou == pytest.approx(1 / 3)


def test_probabilities_are_the_softmax_over_the_classes_and_never_round_to_one() -> None:
    logits = torch.tensor([[[0.0, 30.0]], [[math.log(3), 0.0]], [[0.0, 0.0]]])
    assert class_probability(logits, 1)[0, 0].item() == pytest.approx(0.6)
    assert class_probability(logits, 0)[0, 1].item() < 1.0


def test_it_starts_where_there_is_something_to_see() -> None:
    _, masks, _, classes = scenes()
    assert first_foreground(masks, classes) == (1, 2)
    assert first_foreground(masks[2:], classes) == (0, 1)
    assert first_foreground(masks, ["one", "Background", "ground", "four"]) == (0, 0)
    assert first_foreground(torch.tensor([[[255, 2]], [[255, 1]]]), ["a", "ground", "background"]) == (0, 1)


# -- the widget ------------------------------------------------------------------------------


def explorer(**options: Any) -> Any:
    return widgets.threshold_explorer(*scenes(), **options)


def alt(widget: Any) -> str:
    assert widget.settle(LONG)
    return bundle_of(widget)[1]["image/png"]["alt"]


def expected(name: str, label: int, at: int, threshold: float) -> str:
    _, masks, logits, _ = scenes()
    probability = logits[name].double().softmax(1)[:, label]
    precision, recall, iou = counted(probability, masks, label, threshold)
    here = counted(probability[at], masks[at], label, threshold)[2]
    return (
        f"precision {precision:.3f}, recall {recall:.3f}, IoU {100 * iou:.1f} % over all 6 images; "
        f"IoU in this image: {100 * here:.1f} %."
    )


def test_it_opens_on_a_garment_and_says_so_in_words() -> None:
    widget = explorer()
    assert (widget.model.value, widget.label.value, widget.index.value) == ("teachers", 2, 1)
    assert widget.threshold.value == 0.5
    assert expected("teachers", 2, 1, 0.5) in widget.status.value
    assert "teachers, &lt;dress&gt; at threshold 0.50: " in widget.status.value
    assert 'role="status" aria-live="polite"' in widget.status.value
    text = alt(widget)
    assert text.startswith("teachers, image 1: <dress> at threshold 0.50: in this image ")
    assert "&lt;dress&gt;" in widget.words.value
    title = widget.figure().axes[-1].title
    assert title.get_text() == "teachers, over all images" and title.get_weight() == "bold"


def test_threshold_model_class_and_picture_move_figure_and_words_together() -> None:
    widget = explorer()
    pictures = [widget.drawing.value]
    for control, value, words in (
        (widget.threshold, 0.66, expected("teachers", 2, 1, 0.66)),
        (widget.model, "student", expected("student", 2, 1, 0.66)),
        (widget.label, 1, expected("student", 1, 1, 0.66)),
        (widget.index, 4, expected("student", 1, 4, 0.66)),
    ):
        control.value = value
        text = alt(widget)
        assert words in widget.status.value
        precision_recall = words.split(", IoU")[0]
        assert precision_recall in text and words.rsplit(": ", 1)[1].rstrip(".") in text
        assert widget.drawing.value not in pictures
        pictures.append(widget.drawing.value)


def test_at_both_ends_of_the_slider() -> None:
    widget = explorer()
    assert (widget.threshold.min, widget.threshold.max, widget.threshold.step) == (0.0, 1.0, 0.01)
    widget.threshold.value = 1.0
    assert "0 pixels are right, 0 too much" in alt(widget)
    assert "precision 1.000, recall 0.000, IoU 0.0 %" in widget.status.value
    widget.threshold.value = 0.0
    assert " 0 missed" in alt(widget) and "recall 1.000" in widget.status.value


def test_only_classes_with_a_pixel_are_offered_and_choosing_one_goes_to_a_picture_of_it() -> None:
    widget = explorer()
    assert widget.label.options == (
        ("background (in 6 of 6 images)", 0),
        ("shirt (in 5 of 6 images)", 1),
        ("<dress> (in 4 of 6 images)", 2),
    )
    widget.label.value = 1
    assert widget.index.value == 1
    widget.index.value = 2
    assert widget.label.value == 1
    widget.label.value = 2  # picture 2 has none
    assert widget.index.value == 3
    widget.index.value = 0
    widget.threshold.value = 1.0
    assert widget.settle(LONG) and "the class is neither there nor predicted" in widget.status.value
    widget.index.value = 5
    images, masks, logits, classes = scenes()
    last = widgets.threshold_explorer(images.flip(0), masks.flip(0), logits, classes)
    last.index.value = 5
    last.label.value = 1
    assert last.index.value == 0, "from the last picture on it begins again"


def test_it_steps_through_the_pictures_and_around() -> None:
    widget = explorer()
    widget.before.click()
    widget.before.click()
    assert widget.index.value == 5
    widget.after.click()
    assert widget.index.value == 0 and widget.settle(LONG)


def test_controls_are_labelled_and_of_the_kinds_that_take_the_keyboard() -> None:
    widget = explorer(start=0.3)
    assert widget.threshold.value == 0.3 and "threshold 0.30" in widget.status.value
    kinds = {
        "Model": (widget.model, ipywidgets.Dropdown),
        "Class": (widget.label, ipywidgets.Dropdown),
        "Image": (widget.index, ipywidgets.IntSlider),
        "Threshold": (widget.threshold, ipywidgets.FloatSlider),
    }
    for words, (control, kind) in kinds.items():
        assert isinstance(control, kind) and control.description == words and not control.disabled
    assert widget.threshold.readout  # where a value can be typed


def test_one_picture_and_one_model_will_do_and_the_sentence_stays() -> None:
    images, masks, logits, classes = scenes(2)
    one = widgets.threshold_explorer(images[1:], masks[1:], {"only": logits["student"][1:]}, classes)
    assert one.index.disabled and "over 1 image;" in one.status.value
    assert bundle_of(one)[0]["text/plain"] == bundle_of(explorer())[0]["text/plain"]
    one.after.click()
    assert one.settle(LONG)


def test_what_was_passed_stays_as_it_was() -> None:
    images, masks, logits, classes = scenes()
    widget = widgets.threshold_explorer(images, masks, logits, classes)
    widget.threshold.value = 0.2
    assert widget.settle(LONG)
    again = scenes()
    assert torch.equal(images, again[0]) and torch.equal(masks, again[1])
    assert all(torch.equal(logits[name], again[2][name]) for name in logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"images": a["images"].float()}, "Images must be uint8"),
        (lambda a: a | {"masks": a["masks"][:3]}, "masks must have shape"),
        (lambda a: a | {"masks": a["masks"].where(a["masks"] != 1, 4)}, "masks must hold 0..3"),
        (
            lambda a: a | {"masks": torch.full_like(a["masks"], 255)},
            "'one' can't be used. There is nothing to score",
        ),
        (lambda a: a | {"logits_by_name": {}}, "at least one model"),
        (lambda a: a | {"logits_by_name": {"one": a["logits"][:, :3]}}, r"'one' must be \[6, 4, 12, 10\]"),
        (lambda a: a | {"logits_by_name": {"one": a["logits"] * torch.nan}}, "'one' can't be used. .*finite"),
        (
            lambda a: a | {"logits_by_name": {"one": a["logits"].softmax(1)}},
            "'one' can't be used. .*probabilities",
        ),
        (lambda a: a | {"classes": ("a", "b", "c")}, "'one' must be|masks must hold"),
        (lambda a: a | {"start": 1.5}, "start is a threshold"),
        (lambda a: a | {"start": math.nan}, "start is a threshold"),
    ],
)
def test_it_refuses_what_does_not_fit(change: Any, message: str) -> None:
    images, masks, logits, classes = scenes()
    good = {
        "images": images,
        "masks": masks,
        "logits": logits["teachers"],
        "logits_by_name": {"one": logits["teachers"]},
        "classes": classes,
        "start": 0.5,
    }
    arguments = change(good)
    arguments.pop("logits")
    with pytest.raises(ArgumentError, match=message):
        widgets.threshold_explorer(**arguments)


def test_the_front_end_calls_the_same_pixels_at_every_threshold() -> None:
    images, masks, logits, names = scenes()
    state = json.loads(
        json.dumps(widgets.threshold_explorer(images, masks, logits, names, start=0.4).state())
    )
    offered = [label for label, _ in state["offered"]]
    assert state["offered"] == [[0, 6], [1, 5], [2, 4]] and state["first"] == [1, 2] and state["start"] == 0.4
    for name, packed in zip(state["names"], state["levels"], strict=True):
        levels = torch.frombuffer(bytearray(zlib.decompress(base64.b64decode(packed))), dtype=torch.uint8)
        levels = levels.reshape(len(images), len(offered), *images.shape[2:])
        probabilities = logits[name].double().softmax(1)[:, offered]
        for step in range(101):
            assert torch.equal(levels >= step, probabilities >= step / 100)


def test_where_scripts_run_the_front_end_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert not front.runs_here()
    monkeypatch.setenv("JPY_SESSION_NAME", "lesson.ipynb")
    monkeypatch.setattr(ipywidgets, "__version__", "7.7.1")
    assert not front.runs_here()
    monkeypatch.setattr(ipywidgets, "__version__", "8.1.9")
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    assert not front.runs_here()
    monkeypatch.delitem(sys.modules, "google.colab")

    widget = widgets.threshold_explorer(*scenes())
    [output] = widget.children
    [shown] = output.outputs
    html = shown["data"]["text/html"]
    assert html.count("</script>") == 1 and "export" not in html
    assert "\\u003cdress>" in html and "<img alt=" in html  # the figure, where no script runs
    assert "html" not in str(bundle_of(widget)[0])  # nothing of this is stored in the notebook
