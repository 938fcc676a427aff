"""Figures of masks: what is painted and printed is what the numbers say, with colour and without."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import ndimage

from kdcourse import figures
from kdcourse.data import IGNORE
from kdcourse.errors import ArgumentError
from kdcourse.evaluation import PrecisionRecallCurve, SegmentationTally, mean_iou, precision_recall
from kdcourse.figures.masks import _COLOURS, _regions, class_colours, outline, painted, spots_of, texture
from kdcourse.figures.precision_recall import drawn_points, spread_marks
from kdcourse.training.history import EpochRecord, History
from tests.figures.test_figures import LONG, inside

NAMES = ["background", "ant", "bee", "cat"]


def scenes(
    count: int = 3,
    size: tuple[int, int] = (24, 24),
    classes: int = 4,
    channels: int = 3,
    ignored: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures, masks of rectangles, and logits that are mostly right."""
    generator = torch.Generator().manual_seed(count + classes)
    images = torch.randint(0, 256, (count, channels, *size), generator=generator, dtype=torch.uint8)
    masks = torch.zeros(count, *size, dtype=torch.uint8)
    for n in range(count):
        masks[n, 2:12, 3 + n : 14 + n] = 1 + n % (classes - 1)
        masks[n, 10:20, 8:20] = 1 + (n + 1) % (classes - 1)
    logits = 2 * torch.randn(count, classes, *size, generator=generator)
    logits.scatter_add_(1, masks[:, None].long(), torch.full_like(logits[:, :1], 4.0))
    if ignored:
        masks[:, :2] = IGNORE
    return images, masks, logits


def history(epochs: int, iou: float | None) -> History:
    def at(n: int) -> dict[str, float | None]:
        known = None if iou is None else iou - 0.1 / (n + 1)
        return {"train_iou": known, "validation_iou": None if known is None else known - 0.05}

    rows = [
        EpochRecord(n + 1, 2.0 / (n + 1), 0.9, 1.5 / (n + 1), 0.9, 0.1, 1.0, **at(n)) for n in range(epochs)
    ]
    return History({}, rows)


def curve(label: int = 1) -> PrecisionRecallCurve:
    _, masks, logits = scenes()
    return precision_recall(logits, masks).per_class[label]


def examples() -> Figure:
    images, masks, _ = scenes(ignored=True)
    return figures.scene_examples(images, masks, NAMES)


def predicted() -> Figure:
    images, masks, logits = scenes(ignored=True)
    said = logits.argmax(1)
    return figures.predicted_masks(images, masks, {"teacher": masks.clamp(max=3), "plain": said}, NAMES)


def training() -> Figure:
    return figures.segmentation_curves(
        {"plain": [history(3, 0.5), history(3, 0.6)], "distilled": history(3, 0.7)}
    )


def ranking() -> Figure:
    return figures.precision_recall_curves({"teacher": curve(1), "plain": curve(2)}, title="Bees")


def overlaps() -> Figure:
    return figures.iou_bars(
        {
            "teacher": [0.9, 0.8, math.nan, 0.4],
            "plain": torch.tensor([[0.5, 0.4, 0.2, 0.1], [0.7, 0.6, 0.2, 0.3]]),
        },
        NAMES,
    )


def threshold(at: float = 0.5, ignored: bool = False, **changes: Any) -> Figure:
    images, masks, logits = scenes(ignored=ignored)
    arguments = {
        "image": images[0],
        "mask": masks[0],
        "probability": logits.softmax(1)[0, 1],
        "threshold": at,
        "curve": curve(1),
        "label": 1,
        "classes": NAMES,
        **changes,
    }
    return figures.threshold_view(**arguments)


ALL: list[Callable[[], Figure]] = [examples, predicted, training, ranking, overlaps, threshold]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text().strip()]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("make", ALL)
def test_figures_fit_and_give_the_same_bytes_each_time(make: Callable[[], Figure]) -> None:
    figure = make()
    inside(figure)
    assert figures.png(figure) == figures.png(make())
    assert len(figures.alt_text(figure)) > 60


# -- painting ----------------------------------------------------------------------------------


def test_every_pixel_has_the_colour_of_its_class() -> None:
    mask = torch.tensor([[0, 1], [2, IGNORE], [1, IGNORE]], dtype=torch.uint8)
    picture = painted(mask, class_colours(NAMES))
    assert picture[0, 1].tolist() == picture[2, 0].tolist() == list(to_rgb(_COLOURS[0]))
    assert picture[1, 0].tolist() == list(to_rgb(_COLOURS[1]))
    assert picture[0, 0, 0] == picture[0, 0, 1] == picture[0, 0, 2], "the background is grey"
    assert picture[1, 1, 0] != picture[2, 1, 0], "what is left out is chequered"
    # In grey the three textures still differ from one another, and in every 4x4 patch.
    patches = [texture(name, 64, 64)[:4, :4] for name in ("chequered", "striped", "dotted")]
    assert len({patch.tobytes() for patch in patches}) == 3
    assert all(len(np.unique(patch)) == 2 for patch in patches)


def test_regions_are_connected_as_scipy_has_it() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(3, (4, 15, 18), generator=generator, dtype=torch.int16)
    found = _regions(labels)
    for n in range(4):
        total = 0
        for value in range(3):
            wanted, count = ndimage.label((labels[n] == value).numpy())
            total += count
            for region in range(1, count + 1):
                assert len(found[n][torch.from_numpy(wanted == region)].unique()) == 1
        assert len(found[n].unique()) == total
    assert not set(found[0].unique().tolist()) & set(found[1].unique().tolist())


def test_numbers_stand_inside_their_own_regions_and_only_where_there_is_room() -> None:
    masks = torch.zeros(2, 40, 40, dtype=torch.uint8)
    masks[0, 5:20, 5:15] = 3
    masks[0, 25:35, 25:38] = 3
    masks[0, 30:32, 2:20] = 1  # too thin
    masks[1, :, :] = 2
    masks[1, :, 10:12] = IGNORE
    spots = spots_of(masks, NAMES)
    assert sorted(label for *_, label in spots[0]) == [3, 3]
    for n, found in enumerate(spots):
        for x, y, label in found:
            around = masks[n, y - 2 : y + 3, x - 2 : x + 3]
            assert around.shape == (5, 5) and bool((around == label).all())
    assert [label for *_, label in spots[1]] == [2, 2], "one on each side of what is left out"
    # The middle of the region, not its rim.
    assert max(abs(x - 9) for x, y, _ in spots[0] if y < 20) <= 2
    large = masks.repeat_interleave(5, 1).repeat_interleave(5, 2)
    for found, coarse in zip(spots_of(large, NAMES), spots, strict=True):
        assert sorted(label for *_, label in found) == sorted(label for *_, label in coarse)


def test_outlines_run_between_the_pixels_that_differ() -> None:
    axes = Figure().subplots()
    outline(axes, torch.tensor([[0, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.uint8))
    segments = {tuple(map(tuple, segment)) for segment in axes.collections[0].get_segments()}
    assert segments == {
        ((0.5, 0.5), (1.5, 0.5)),
        ((0.5, 1.5), (1.5, 1.5)),
        ((0.5, 0.5), (0.5, 1.5)),
        ((1.5, 0.5), (1.5, 1.5)),
    }


# -- pictures and masks ------------------------------------------------------------------------


def test_examples_show_the_picture_and_what_is_in_it() -> None:
    images, masks, _ = scenes(ignored=True)
    figure = examples()
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(shown) == 6
    for n in range(3):
        assert np.array_equal(shown[n], images[n].permute(1, 2, 0))
        plain = (masks[n] == 0).numpy()
        np.testing.assert_allclose(shown[3 + n][plain], shown[n][plain] / 255)
        assert not np.allclose(shown[3 + n][~plain], shown[n][~plain] / 255)
    assert legend(figure) == ["1  ant", "2  bee", "3  cat", "left out"], "the background is not painted here"
    text = figures.alt_text(figure)
    share = int((masks[0] == 2).sum()) / 24**2
    assert text.startswith("Three images with masks. Image 1: ") and f"bee {100 * share:.0f} %" in text
    assert "left out 8 %" in text
    # Only what occurs is named.
    assert legend(figures.scene_examples(images[:1], masks[:1], NAMES)) == ["1  ant", "2  bee", "left out"]


def test_predictions_are_shown_with_the_iou_of_each_picture() -> None:
    images, masks, logits = scenes()
    said = {"teacher": masks, "plain": logits.argmax(1)}
    figure = figures.predicted_masks(images, masks, said, NAMES)
    grid = [axes for axes in figure.axes if axes.images]
    assert len(grid) == 12
    assert [axes.get_ylabel() for axes in grid[::3]] == ["image", "truth", "teacher", "plain"]
    printed = [axes.get_xlabel() for axes in grid]
    alone = [mean_iou(said["plain"][n : n + 1], masks[n : n + 1], 4) for n in range(3)]
    assert printed == [""] * 6 + ["100 %"] * 3 + [f"{100 * value:.0f} %" for value in alone]
    assert f"plain: mean IoU per image {100 * alone[0]:.0f} %" in figures.alt_text(figure)
    assert f"on average {100 * np.mean(alone):.1f} %" in figures.alt_text(figure)
    for n in range(3):
        assert np.array_equal(
            grid[9 + n].images[0].get_array(), painted(said["plain"][n], class_colours(NAMES))
        )


def test_what_is_left_out_is_not_shown_of_predictions_either() -> None:
    images, masks, logits = scenes(ignored=True)
    masks[2] = IGNORE
    figure = figures.predicted_masks(images, masks, {"plain": logits.argmax(1)}, NAMES)
    grid = [axes for axes in figure.axes if axes.images]
    chequered = texture("chequered", 24, 24)[:2, :, None].repeat(3, axis=2)
    assert np.array_equal(grid[6].images[0].get_array()[:2], chequered)
    assert grid[8].get_xlabel() == "–" and "Image 3 shows nothing that counts." in figures.alt_text(figure)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 11])
def test_few_and_many_pictures_of_any_shape_with_long_names(count: int) -> None:
    images, masks, logits = scenes(count, size=(20, 31), classes=20, channels=1)
    inside(figures.scene_examples(images, masks, LONG))
    figure = figures.predicted_masks(images, masks, {name: logits.argmax(1) for name in LONG[:3]}, LONG)
    inside(figure)
    assert sum(bool(axes.images) for axes in figure.axes) == 5 * count


# -- curves and bars ---------------------------------------------------------------------------


def test_training_curves_hold_loss_and_iou() -> None:
    figure = training()
    loss, iou = figure.axes
    assert loss.get_title() == "Loss" and iou.get_title() == "Mean IoU"
    dashed, solid = iou.lines[:2]
    wanted = 100 * (np.array([0.45, 0.50, 0.55 - 0.1 / 3]))
    np.testing.assert_allclose(dashed.get_ydata(), wanted)
    np.testing.assert_allclose(solid.get_ydata(), wanted - 5)
    text = figures.alt_text(figure)
    assert "plain: three epochs, two seeds; at the end training mean IoU 51.67 %" in text
    assert "distilled: three epochs, one seed;" in text and "validation mean IoU 61.67 %" in text


def test_precision_recall_lines_lie_on_their_curves() -> None:
    figure = ranking()
    (axes,) = figure.axes
    drawn = [line for line in axes.lines if line.get_label()[0] != "_"]
    assert len(drawn) == 2 and drawn[0].get_marker() != drawn[1].get_marker()
    for line, label in zip(drawn, (1, 2), strict=True):
        points = set(zip(curve(label).recall.tolist(), curve(label).precision.tolist(), strict=True))
        assert set(zip(line.get_xdata(), line.get_ydata(), strict=True)) <= points
    assert legend(figure) == [
        f"teacher: AP {curve(1).average_precision:.3f}",
        f"plain: AP {curve(2).average_precision:.3f}",
    ]
    faint = [line for line in axes.lines if line.get_label()[0] == "_"]
    for line, f1 in zip(faint, (0.2, 0.4, 0.6, 0.8), strict=True):
        x, y = line.get_data()
        np.testing.assert_allclose(2 * x * y / (x + y), f1)
    assert f"teacher: average precision {curve(1).average_precision:.3f}" in figures.alt_text(figure)


def test_long_curves_are_thinned_and_marks_spread_along_recall() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(2, (20_000,), generator=generator)
    logits = torch.randn(20_000, 2, generator=generator) + 2 * torch.nn.functional.one_hot(masks, 2)
    found = precision_recall(logits, masks).per_class[1]
    recall, precision = drawn_points(found)
    assert len(found.recall) > 2000 and len(recall) <= 800
    assert recall[-1] == 1 and precision[-1] == found.precision[0]
    marks = recall[spread_marks(recall)]
    np.testing.assert_allclose(marks, np.linspace(0.05, 0.95, 10), atol=0.01)
    later = recall[spread_marks(recall, 2 / 3)]
    np.testing.assert_allclose(later, np.linspace(0.05, 0.85, 9) + 0.2 / 3, atol=0.01)
    # One threshold alone, and a class ranked last, still make a line.
    flat = precision_recall(torch.zeros(4, 2), torch.tensor([0, 1, 1, 1])).per_class[1]
    assert [part.tolist() for part in drawn_points(flat)] == [[1.0], [0.75]]
    inside(figures.precision_recall_curves({"flat": flat}))


def test_bars_end_where_the_iou_is_and_absent_classes_have_none() -> None:
    figure = overlaps()
    (axes,) = figure.axes
    teacher, plain = [line for line in axes.lines if line.get_label()[0] != "_"]
    np.testing.assert_allclose(teacher.get_xdata(), [90, 80, 40, 70])
    np.testing.assert_allclose(plain.get_xdata(), [60, 50, 20, 20, 37.5])
    assert len(teacher.get_ydata()) == 4 and teacher.get_marker() != plain.get_marker()
    assert not set(teacher.get_ydata()) & set(plain.get_ydata())
    spread = axes.collections[-1].get_segments()
    np.testing.assert_allclose([[a[0], b[0]] for a, b in spread[:2]], [[50, 70], [40, 60]])
    assert legend(figure) == ["teacher: mean 70.0 %", "plain: mean 37.5 %"]
    text = figures.alt_text(figure)
    assert "bee absent" in text and "plain: mean 37.5 % over 2 seeds; background 60.0 %" in text
    many = {name: torch.rand(20) for name in LONG[:6]}
    inside(figures.iou_bars(many, LONG))


# -- the threshold -----------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0.0, 0.02, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("ignored", [False, True])
def test_the_threshold_moves_mask_iou_and_point(at: float, ignored: bool) -> None:
    _, masks, logits = scenes(ignored=ignored)
    probability = logits.softmax(1)[:, 1]
    counted = masks != IGNORE
    found = precision_recall(logits, masks).per_class[1]
    figure = threshold(at, ignored, curve=found)
    inside(figure)
    said, there = (probability[0] >= at) & counted[0], masks[0] == 1
    right, wrong, missed = int((said & there).sum()), int((said & ~there).sum()), int((there & ~said).sum())
    text = figures.alt_text(figure)
    assert f"{right:,} pixels are right, {wrong:,} too much and {missed:,} missed" in text
    assert f"IoU in this image {100 * right / (right + wrong + missed):.1f} %" in words(figure)
    precision, recall = found.at(at)
    point = figure.axes[2].lines[-1]
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (recall, precision)
    # The IoU of all pictures follows from the point; counted by hand it is the same.
    every = (probability >= at) & counted
    both, either = int((every & (masks == 1)).sum()), int((every | (masks == 1)).sum())
    assert f"IoU {100 * both / either:.1f} %" in text.split("Over all images")[1]
    after = figure.axes[1].images[0].get_array()
    blue = np.isclose(after, to_rgb("#0072B2")).all(axis=2)
    assert np.array_equal(blue, (said & there).numpy())
    assert ("left out" in legend(figure)) == ignored


def test_a_class_that_is_not_in_the_picture() -> None:
    figure = threshold(1.0, label=3, curve=curve(3))
    assert "IoU in this image – (the class is neither there nor called)" in words(figure)
    inside(figure)


def test_thresholds_near_the_ends_are_told_apart() -> None:
    assert "pixels with p ≥ 0.99995" in words(threshold(0.99995))
    assert "pixels with p ≥ 0.50" in words(threshold(0.5))


def test_it_ends_where_the_tally_does() -> None:
    _, masks, logits = scenes()
    tally = SegmentationTally(4)
    tally.update(logits, masks)
    scores = tally.scores()
    inside(figures.precision_recall_curves({"plain": scores.precision_recall.micro}))
    inside(figures.iou_bars({"plain": scores.iou_per_class}, NAMES))
    reliability = figures.reliability_diagram({"plain": scores.reliability}, unit="pixels")
    inside(reliability)
    text = figures.alt_text(reliability)
    assert f"on {scores.pixels:,} pixels" in text and "images" not in text
    assert reliability.axes[1].get_ylabel() == "% of all\npixels"


def test_the_curve_of_a_threshold_has_the_title_asked_for() -> None:
    plain, named = threshold().axes[-1].title, threshold(title="plain, over all images").axes[-1].title
    assert (plain.get_text(), named.get_text()) == ("over all images", "plain, over all images")
    assert plain.get_weight() == named.get_weight() == "bold"


# -- bad arguments -----------------------------------------------------------------------------

IMAGES, MASKS, LOGITS = scenes()
SAID = LOGITS.argmax(1)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: figures.scene_examples(IMAGES.float(), MASKS, NAMES), "uint8"),
        (lambda: figures.scene_examples(IMAGES[:0], MASKS[:0], NAMES), "at least one"),
        (lambda: figures.scene_examples(IMAGES, MASKS[:2], NAMES), r"\[3, 24, 24\].*found \[2, 24, 24\]"),
        (lambda: figures.scene_examples(IMAGES, MASKS + 2, NAMES), r"0\.\.3 .*found"),
        (lambda: figures.scene_examples(IMAGES, MASKS.float(), NAMES), "whole numbers"),
        (lambda: figures.scene_examples(IMAGES, MASKS, ["a"]), "found 1 names"),
        (lambda: figures.scene_examples(IMAGES, MASKS, NAMES, columns=0), "columns must be at least 1"),
        (lambda: figures.predicted_masks(IMAGES, MASKS, {}, NAMES), "at least one model"),
        (
            lambda: figures.predicted_masks(IMAGES, MASKS, {"a": LOGITS}, NAMES),
            "predictions of 'a' must have shape",
        ),
        (lambda: figures.predicted_masks(IMAGES, MASKS, {"a": SAID + 2}, NAMES), r"must hold 0\.\.3"),
        (lambda: figures.segmentation_curves({}), "at least one model"),
        (lambda: figures.segmentation_curves({"a": history(2, None)}), "'a' holds no IoU"),
        (lambda: figures.segmentation_curves({"a": [history(1, 0.5), history(2, 0.5)]}), "equally long"),
        (lambda: figures.precision_recall_curves({}), "at least one model"),
        (
            lambda: figures.precision_recall_curves({"a": precision_recall(LOGITS, MASKS)}),
            "one curve per model",
        ),
        (
            lambda: figures.precision_recall_curves(
                {"a": precision_recall(LOGITS[:1], MASKS[:1] * 0).per_class[2]}
            ),
            "no pixel belongs to",
        ),
        (lambda: figures.iou_bars({}, NAMES), "at least one model"),
        (lambda: figures.iou_bars({"a": [0.5]}, NAMES), r"each of the 4 classes.*found shape \[1, 1\]"),
        (lambda: figures.iou_bars({"a": [50.0, 60, 70, 80]}, NAMES), "Divide percentages"),
        (lambda: figures.iou_bars({"a": [math.nan] * 4}, NAMES), "0 to 1, NaN"),
        (lambda: threshold(1.5), "found 1.5"),
        (lambda: threshold(image=IMAGES), r"one image.*found \[3, 3, 24, 24\]"),
        (lambda: threshold(mask=MASKS[0, 1:]), r"found \[1, 23, 24\]"),
        (lambda: threshold(probability=LOGITS.softmax(1)[0]), "one per pixel"),
        (lambda: threshold(probability=LOGITS[0, 1]), "softmax of the logits first"),
        (lambda: threshold(label=4), "4 classes; found 4"),
    ],
)
def test_what_will_not_do_is_named(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        call()
