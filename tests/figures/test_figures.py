"""Figures: drawn from any results, told in words with their numbers, the same bytes every time."""

from __future__ import annotations

import io
import itertools
import pickle
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import torch
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from PIL import Image

from benchmarks.figures.times import GrowthPoint, SideTimes, growth, side_by_side
from kdcourse import figures
from kdcourse.errors import ArgumentError
from kdcourse.evaluation import Reliability, reliability
from kdcourse.figures import (
    CostPoint,
    accuracy_against_cost,
    against_temperature,
    alt_text,
    disagreements,
    reliability_diagram,
    save,
    set_alt_text,
    soft_target_gallery,
    training_curves,
)
from kdcourse.figures.style import PALETTE, byte_size, looks, shorten, significant
from kdcourse.training.history import EpochRecord, History

# As a formula, $0^^$ would be an error.
LONG = [f"${n}^^$ <class> & a name of uncommon length" for n in range(20)]


def history(epochs: int, accuracy: float, validated: bool = True) -> History:
    rows = [
        EpochRecord(
            epoch=n + 1,
            train_loss=2.0 / (n + 1),
            train_accuracy=accuracy - 0.1 / (n + 1),
            validation_loss=1.5 / (n + 1) if validated else None,
            validation_accuracy=accuracy - 0.05 / (n + 1) if validated else None,
            learning_rate=0.1,
            seconds=1.0,
        )
        for n in range(epochs)
    ]
    return History({}, rows)


def pictures(count: int, classes: int, channels: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count + classes)
    images = torch.randint(0, 256, (count, channels, 6, 5), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, classes, (count,), generator=generator)
    logits = 2 * torch.randn(count, classes, generator=generator) + 3 * torch.eye(classes)[labels]
    return images, labels, logits


def course_points() -> list[CostPoint]:
    points = [
        CostPoint(f"teacher {n}", 0.9425 + 0.0005 * n, 1.2e6 + 1e4 * n, 2.1, (0.938, 0.947), "teacher")
        for n in range(5)
    ]
    return [
        *points,
        CostPoint("ensemble of five", 0.9512, 7.2e6, 11.2, (0.9468, 0.9552), "ensemble"),
        CostPoint("plain student", 0.9002, 64600, 0.310, (0.8981, 0.9023), "plain"),
        CostPoint("distilled student", 0.9011, 64600, 0.312, (0.8990, 0.9032), "distilled"),
    ]


def curves_figure() -> Figure:
    return training_curves({"plain": [history(3, 0.8), history(3, 0.9)], "distilled": [history(3, 0.95)]})


def reliability_figure() -> Figure:
    _, labels, logits = pictures(60, 4)
    return reliability_diagram(
        {"plain": reliability(logits, labels), "distilled": reliability(3 * logits, labels)}
    )


def cost_figure() -> Figure:
    return accuracy_against_cost(course_points())


def gallery_figure() -> Figure:
    images, labels, logits = pictures(2, 5)
    return soft_target_gallery(images, logits, labels, list("abcde"))


def disagreements_figure() -> Figure:
    images, labels, logits = pictures(30, 5)
    return disagreements(images, labels, logits, logits.flip(1), list("abcde"), limit=3)


ALL: list[Callable[[], Figure]] = [
    curves_figure,
    reliability_figure,
    cost_figure,
    gallery_figure,
    disagreements_figure,
]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text().strip()]


# -- files -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("make", ALL)
def test_a_figure_gives_the_same_bytes_each_time(make: Callable[[], Figure], tmp_path: Path) -> None:
    figure = make()
    assert [path.name for path in save(figure, tmp_path / "a", "one")] == ["one.png", "one.svg"]
    save(figure, tmp_path / "b", "one")
    save(make(), tmp_path / "c", "one")
    for name in ("one.png", "one.svg"):
        first, again, anew = ((tmp_path / folder / name).read_bytes() for folder in "abc")
        assert first == again, "saving moved something"
        assert first == anew, "making it twice gave two figures"


@pytest.mark.slow
def test_another_process_with_other_settings_writes_the_same_bytes(tmp_path: Path) -> None:
    save(cost_figure(), tmp_path / "a", "one")
    code = (
        "import sys, pathlib, matplotlib; matplotlib.rcParams.update({'font.size': 20, 'savefig.bbox': 'tight'});"
        "from tests.figures.test_figures import cost_figure, save;"
        "save(cost_figure(), pathlib.Path(sys.argv[1]), 'one')"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "b")],
        check=True,
        cwd=Path(__file__).parents[2],
        env={**__import__("os").environ, "PYTHONHASHSEED": "12345"},
    )
    for name in ("one.png", "one.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_files_carry_the_alt_text_and_no_date(tmp_path: Path) -> None:
    figure = curves_figure()
    set_alt_text(figure, "Loss < 1 & falling:\n  “good”.")
    png, svg = save(figure, tmp_path, "training_curves")
    with Image.open(png) as image:
        assert image.info["Description"] == "Loss < 1 & falling: “good”."
        assert "Software" not in image.info and "Creation Time" not in image.info
        assert image.size == (900, 444)
    root = ET.parse(svg).getroot()
    title, description = root[0], root[1]
    assert title.tag.endswith("}title") and title.text == "Training curves"
    assert description.tag.endswith("}desc") and description.text == "Loss < 1 & falling: “good”."
    assert root.get("role") == "img"
    assert "date" not in svg.read_text().lower()


@pytest.mark.parametrize("name", ["", "../out", "a b", "a.png", "x" * 101, "-x"])
def test_names_that_cannot_name_a_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="letters, digits"):
        save(gallery_figure(), tmp_path, name)


# -- alt text and style ----------------------------------------------------------------------


def test_a_figure_without_alt_text_is_an_error_and_a_copy_keeps_it() -> None:
    with pytest.raises(ArgumentError, match="set_alt_text"):
        alt_text(Figure())
    with pytest.raises(ArgumentError, match="must say what"):
        set_alt_text(Figure(), " \n ")
    figure = gallery_figure()
    assert alt_text(pickle.loads(pickle.dumps(figure))) == alt_text(figure)


def test_alt_texts_hold_the_main_numbers() -> None:
    text = alt_text(curves_figure())
    # Epoch 3: 0.85 less 0.05 / 3 and 0.1 / 3, seeds 0.1 apart.
    for part in (
        "three epochs",
        "two seeds",
        "83.33 %",
        "78.33 % to 88.33 %",
        "81.67 %",
        "loss 0.500",
        "0.667",
    ):
        assert part in text, part
    text = alt_text(cost_figure())
    for part in ("teacher 4: 94.45 %", "89.90 % to 90.32 %", "64.6 kB and 0.312 ms", "7.20 MB and 11.2 ms"):
        assert part in text, part
    curve = Reliability(
        edges=torch.tensor([0.0, 0.5, 1.0]),
        confidence=torch.tensor([float("nan"), 0.9]),
        accuracy=torch.tensor([float("nan"), 0.65]),
        count=torch.tensor([0, 20]),
    )
    text = alt_text(reliability_diagram({"teacher": curve}))
    for part in (
        "error 25.00 points",
        "on 20 images",
        "confidence 90.00 %",
        "accuracy 65.00 %",
        "overconfident",
        "20 images lie",
    ):
        assert part in text, part


def test_the_gallery_prints_the_softened_probabilities_and_marks_the_label() -> None:
    images = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    probabilities = torch.tensor([[0.90, 0.06, 0.03, 0.01]])
    figure = soft_target_gallery(
        images, probabilities.log(), torch.tensor([3]), ["ant", "bee", "cat", "dog"], (1, 2), top=2
    )
    shown = words(figure)
    # Two bars: the likeliest class and, in place of the second, the label's.
    assert "ant" in shown and "bee" not in shown
    roots = probabilities.sqrt() / probabilities.sqrt().sum()
    assert {"0.900", "0.010", f"{roots[0, 0]:.3f}", f"{roots[0, 3]:.3f}"} <= set(shown)
    heavy = {
        t.get_text() for axes in figure.axes for t in axes.get_yticklabels() if t.get_fontweight() == "bold"
    }
    assert heavy - {""} == {"dog"}
    assert f"at T = 2 ant {roots[0, 0]:.3f}" in alt_text(figure)


def test_disagreements_count_all_and_mark_who_is_right() -> None:
    labels = torch.tensor([0, 1, 2, 0, 1])
    teacher = torch.eye(3)[torch.tensor([0, 1, 0, 0, 1])] * 4.0
    student = torch.eye(3)[torch.tensor([0, 0, 2, 1, 2])] * 4.0
    images = torch.zeros(5, 1, 3, 3, dtype=torch.uint8)
    figure = disagreements(images, labels, teacher, student, ["ant", "bee", "cat"], limit=2)
    # All but the first differ; the teacher errs on the third alone.
    text = alt_text(figure)
    assert "differ on 4 of 5 images: the teacher is right on 3, the student on 1, neither on 0." in text
    assert "The first two shown." in text
    assert "Truth bee: teacher bee 96 % (right), student ant 96 % (wrong)." in text
    cells = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert cells == ["✓ teacher: bee 96 %\n✗ student: ant 96 %", "✗ teacher: ant 96 %\n✓ student: cat 96 %"]


def test_models_that_agree_on_everything_still_make_a_figure() -> None:
    images, labels, logits = pictures(4, 3)
    assert "same class for all 4 images" in alt_text(
        disagreements(images, labels, logits, logits, list("abc"))
    )


def test_series_differ_without_their_colours() -> None:
    for names in (["plain", "distilled", "ensemble"], [f"teacher {n}" for n in range(7)]):
        found = looks(names)
        assert len({look.marker for look in found}) == len(names)
    assert looks(["distilled student"]) == looks(["plain", "distilled"])[1:]
    # One model, one look: whatever stands beside it.
    assert (
        looks(["mine", "distilled", "yours"])[1] == looks(["ensemble of teachers", "plain", "distilled"])[2]
    )
    assert looks(["teachers"]) == looks(["teacher"])
    assert looks(["teacher 1", "teachers 2 to 5"]) == looks(["a", "b"])
    beside = looks(["teachers", "plain", "distilled", "ensemble", *"abc"])
    assert len({look.marker for look in beside}) == len(beside)
    assert all(look.colour not in (PALETTE["yellow"], PALETTE["sky"]) for look in looks(list("abcdefg")))


def test_figures_leave_the_callers_settings_alone() -> None:
    before = matplotlib.rcParams["axes.grid"], matplotlib.rcParams["svg.hashsalt"]
    gallery_figure()
    assert (matplotlib.rcParams["axes.grid"], matplotlib.rcParams["svg.hashsalt"]) == before


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1.00 kB"),
        (64_600, "64.6 kB"),
        (12_345_678, "12.3 MB"),
        (2e9, "2.00 GB"),
    ],
)
def test_sizes(value: float, text: str) -> None:
    assert byte_size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(222.55, "223"), (9.996, "10.0"), (0.31234, "0.312"), (2347, "2,350"), (-0.05, "-0.0500"), (0, "0")],
)
def test_significant_figures(value: float, text: str) -> None:
    assert significant(value) == text


# -- all shapes of results -------------------------------------------------------------------


def inside(figure: Figure) -> None:
    """Nothing written lies outside the figure or is smaller than 9 points."""
    figure.draw_without_rendering()
    width, height = figure.bbox.width, figure.bbox.height
    for text in figure.findobj(Text):
        if text.get_text().strip() and text.get_visible():
            assert text.get_fontsize() >= 9, text.get_text()
            box = text.get_window_extent()
            if isinstance(text, Annotation):
                box = Text.get_window_extent(text)
            inside_it = box.x0 > -1 and box.y0 > -1 and box.x1 < width + 1 and box.y1 < height + 1
            # A tick beyond the axis' limits is not drawn.
            assert inside_it or text in ticks_not_drawn(figure), text.get_text()


def ticks_not_drawn(figure: Figure) -> list[Text]:
    found = []
    for axes in figure.axes:
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not min(low, high) <= tick.get_loc() <= max(low, high) or not tick.label1.get_visible():
                    found += [tick.label1, tick.label2]
    return found


@pytest.mark.parametrize("make", ALL)
def test_usual_figures_fit(make: Callable[[], Figure]) -> None:
    inside(make())


@pytest.mark.parametrize("classes", [2, 20])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_few_and_many_classes_grey_and_in_colour(classes: int, channels: int) -> None:
    images, labels, logits = pictures(5, classes, channels)
    inside(soft_target_gallery(images[:2], logits[:2], labels[:2], LONG[:classes]))
    figure = disagreements(images, labels, logits, -logits, LONG[:classes])
    inside(figure)
    shown = next(axes.images[0] for axes in figure.axes if axes.images)
    assert shown.get_array().shape == (6, 5, 3)
    if channels == 3:
        assert torch.equal(torch.from_numpy(shown.get_array().data.copy()), images[0].permute(1, 2, 0))


def test_one_seed_one_epoch_and_epochs_not_validated() -> None:
    figure = training_curves({"plain": [history(1, 0.8)], "distilled": [history(1, 0.9, validated=False)]})
    inside(figure)
    text = alt_text(figure)
    assert "one epoch, one seed;" in text and "seeds " not in text
    assert "distilled: one epoch, one seed; at the end training accuracy 80.00 %, training loss 2.00." in text


def test_the_parts_of_a_training_loss_are_drawn_named_and_told() -> None:
    plain, distilled = history(3, 0.8), history(3, 0.9)
    without = training_curves({"plain": [plain], "distilled": [distilled]})
    distilled.epochs[:] = [
        replace(record, parts={"labels": 0.5 / record.epoch, "kd": 6.0 / record.epoch})
        for record in distilled.epochs
    ]
    figure = training_curves({"plain": [plain], "distilled": [distilled]})
    inside(figure)
    lines = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert [0.5, 0.25, 0.5 / 3] in lines and [6.0, 3.0, 2.0] in lines
    assert len(lines) == len(without.axes[0].lines) + 2
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "training loss, part kd" in names and "training loss, part labels" in names
    assert "part kd of the training loss 2.00" in alt_text(figure) and "part" not in alt_text(without)


def test_many_models_fit() -> None:
    inside(training_curves({name: [history(4, 0.7), history(4, 0.8)] for name in LONG[:6]}))
    _, labels, logits = pictures(30, 2)
    inside(reliability_diagram({name: reliability(logits, labels) for name in LONG[:4]}))


def labels_of(figure: Figure) -> list[list[Annotation]]:
    return [[t for t in axes.texts if isinstance(t, Annotation)] for axes in figure.axes]


def test_labels_of_models_do_not_collide() -> None:
    figure = cost_figure()
    inside(figure)
    for notes in labels_of(figure):
        assert sorted(note.get_text() for note in notes) == [
            "distilled student",
            "ensemble of five",
            "five teachers",
            "plain student",
        ]
        for one, other in itertools.combinations(notes, 2):
            assert not Text.get_window_extent(one).overlaps(Text.get_window_extent(other))


def test_roles_of_ones_own_look_different_and_the_size_is_named() -> None:
    points = [
        CostPoint(role, 0.9, 1000.0 * n, role=role) for n, role in enumerate(("int8", "pruned", "plain"), 1)
    ]
    figure = accuracy_against_cost(points, size="size of the packed file")
    [axes] = figure.axes
    looks = {(line.get_color(), line.get_marker()) for line in axes.lines}
    assert len(looks) == 3 and axes.get_xlabel() == "size of the packed file (logarithmic)"
    assert "against size of the packed file and" in alt_text(figure)


def test_teachers_far_apart_are_named_one_by_one_and_without_times_there_is_one_panel() -> None:
    points = [CostPoint(f"teacher {n}", 0.5 + 0.2 * n, 10.0 ** (3 + 2 * n), role="teacher") for n in range(3)]
    figure = accuracy_against_cost(points)
    assert len(figure.axes) == 1
    assert [note.get_text() for note in labels_of(figure)[0]] == ["teacher 0", "teacher 1", "teacher 2"]
    inside(accuracy_against_cost([CostPoint("the only one", 1.0, 1)]))


def read_along(axis: Axis) -> list[str]:
    """The labels of an axis that are drawn and cover no other."""
    low, high = sorted(axis.get_view_interval())
    drawn = [
        tick.label1
        for tick in axis.get_major_ticks()
        if low <= tick.get_loc() <= high and tick.label1.get_text()
    ]
    for one, other in itertools.combinations(drawn, 2):
        assert not one.get_window_extent().overlaps(other.get_window_extent()), (one, other)
    return [label.get_text() for label in drawn]


@pytest.mark.parametrize(
    ("begin", "span"), [(1e-3, 1.0), (2.1, 1.0), (6.9, 1.4), (1.05, 3.0), (3.1, 7.0), (2.1, 12.0), (9.9, 1e5)]
)
def test_costs_can_be_read_along_their_axes(begin: float, span: float) -> None:
    points = [CostPoint("a", 0.9, 1e4 * begin, begin), CostPoint("b", 0.91, 1e4 * begin * span, begin * span)]
    for axes in accuracy_against_cost(points).axes:
        labels = read_along(axes.xaxis)
        assert len(set(labels)) == len(labels) >= 2, labels


@pytest.mark.parametrize(("low", "span"), [(2.1, 1.1), (1.05, 3.0), (3.1, 11.0), (2.1, 30.0), (6.9, 1e4)])
def test_every_other_logarithmic_axis_can_be_read(low: float, span: float) -> None:
    high = low * span
    bars = side_by_side([SideTimes("a", low, (low, low)), SideTimes("b", high, (high, high))], "Which?").axes[
        0
    ]
    points = [GrowthPoint(100 * low, low, (low, low)), GrowthPoint(100 * high, high, (high, high))]
    grown = growth(points, "How?", unit="pictures").axes[0]
    warm = against_temperature(
        [1, 2], {"a": [low, high]}, quantity="nats", title="How?", logarithmic=True
    ).axes[0]
    for axis in (bars.xaxis, grown.xaxis, grown.yaxis, warm.xaxis, warm.yaxis):
        labels = read_along(axis)
        assert len(set(labels)) == len(labels) >= 2, labels


def test_the_parts_of_a_calibration_error_sum_to_it_and_bins_of_few_images_are_faint() -> None:
    curve = Reliability(
        edges=torch.tensor([0.0, 0.5, 0.9, 1.0]),
        confidence=torch.tensor([0.4, 0.7, 0.95]),
        accuracy=torch.tensor([1.0, 0.6, 0.9]),
        count=torch.tensor([2, 198, 800]),
    )
    above, middle, below = reliability_diagram({"a": curve}).axes
    heights = [[bar.get_height() for bar in axes.patches] for axes in (middle, below)]
    assert heights[0] == pytest.approx([0.2, 19.8, 80])
    assert heights[1] == pytest.approx([0.12, 1.98, 4.0]) and sum(heights[1]) == pytest.approx(
        100 * curve.error
    )
    # Bars and their gaps: those of the two full bins first, then those of the other.
    assert [bar.get_alpha() for bar in above.patches] == [1, 1, 1, 1, 0.3, 0.3]


# -- bad arguments ---------------------------------------------------------------------------

IMAGES, LABELS, LOGITS = pictures(3, 4)
NAMES = list("abcd")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: training_curves({}), "at least one model"),
        (lambda: training_curves({"a": []}), "at least one history"),
        (lambda: training_curves({"a": [history(0, 0.5)]}), "at least one epoch"),
        (lambda: training_curves({"a": [history(1, 0.5), history(2, 0.5)]}), "equally long"),
        (lambda: reliability_diagram({}), "at least one model"),
        (
            lambda: reliability_diagram(
                {"a": Reliability(torch.tensor([0.0, 1]), torch.ones(1), torch.ones(1), torch.tensor([0]))}
            ),
            "hold no images",
        ),
        (lambda: accuracy_against_cost([]), "at least one model"),
        (lambda: accuracy_against_cost([CostPoint("a", 94.0, 1)]), "Divide percentages by 100"),
        (lambda: accuracy_against_cost([CostPoint("a", float("nan"), 1)]), "0 to 1"),
        (lambda: accuracy_against_cost([CostPoint("a", 0.9, 0)]), "above 0"),
        (lambda: soft_target_gallery(IMAGES.float(), LOGITS, LABELS, NAMES), "uint8"),
        (lambda: soft_target_gallery(IMAGES[:0], LOGITS[:0], LABELS[:0], NAMES), "at least one"),
        (lambda: soft_target_gallery(IMAGES, LOGITS, LABELS[:2], NAMES), "one per image"),
        (lambda: soft_target_gallery(IMAGES, LOGITS, LABELS + 9, NAMES), "must lie in 0..3"),
        (lambda: soft_target_gallery(IMAGES, LOGITS[:2], LABELS, NAMES), "the same images"),
        (lambda: soft_target_gallery(IMAGES, LOGITS * float("inf"), LABELS, NAMES), "finite"),
        (lambda: soft_target_gallery(IMAGES, LOGITS, LABELS, NAMES, ()), "at least one temperature"),
        (lambda: soft_target_gallery(IMAGES, LOGITS, LABELS, NAMES, (0,)), "temperature"),
        (lambda: disagreements(IMAGES, LABELS, LOGITS, LOGITS[:, :2], NAMES), "student_logits"),
        (lambda: disagreements(IMAGES, LABELS, LOGITS, LOGITS, NAMES, limit=0), "limit"),
    ],
)
def test_what_will_not_do_is_named(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        call()


def test_shortening() -> None:
    assert shorten("a  b\nc", 9) == "a b c"
    assert shorten("abcdefghij", 5) == "abcd…"


def test_a_png_of_few_colours_is_smaller_and_keeps_its_size_and_words() -> None:
    figure = figures.soft_target_gallery(
        torch.randint(256, (2, 1, 28, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8),
        torch.randn(2, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 2]), ("a", "b", "c"),
    )  # fmt: skip
    whole, few = figures.png(figure), figures.png(figure, colours=16)
    assert len(few) < 0.7 * len(whole) and few == figures.png(figure, colours=16)
    one, other = (Image.open(io.BytesIO(content)) for content in (whole, few))
    assert one.size == other.size and len(other.getcolors()) <= 16
    assert other.text["Description"] == figures.alt_text(figure)
    assert Image.open(io.BytesIO(figures.png(figure, dpi=50))).size[0] == one.size[0] // 2
