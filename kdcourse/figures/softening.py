"""Draw one image and several models' softened probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from kdcourse.distillation import entropy, softened
from kdcourse.errors import ArgumentError
from kdcourse.figures.galleries import RIGHT, WRONG, _check_images, _check_logits, _probability
from kdcourse.figures.masks import rgb, show
from kdcourse.figures.style import PALETTE, listed, new_figure, set_alt_text, shorten, styled

_PRINTED = 3  # values written beside the bars of each panel
_IMAGE, _NAMES = 1.95, 1.05  # inches kept for the image and for the names of the classes


def softened_bars(
    image: Tensor,
    logits_by_name: Mapping[str, Tensor],
    label: int,
    classes: Sequence[str],
    temperature: float = 1.0,
) -> Figure:
    """Draw an image beside one panel of bars per model: its softened probabilities, in the order of the classes.

    The label's class is bold and darker, with a hatch. A panel's title gives the model's prediction, ✓ right or ✗
    wrong, and the entropy of the bars in nats. The layout is fixed, which is fast enough for a slider.

    Args:
        image: uint8 [1 or 3, H, W].
        logits_by_name: model -> floating [C]; some of them may be ensembles.
        label: index of the image's class.
        classes: C names.
        temperature: T > 0.

    Raises:
        ArgumentError: shapes that don't match, a label out of range, no model, T not above 0.
    """
    if not logits_by_name:
        raise ArgumentError(
            "Softened bars need at least one model's logits; found none. Pass {name: logits}."
        )
    if not 0 <= label < len(classes):
        raise ArgumentError(
            f"label must lie in 0..{len(classes) - 1}, the positions of the classes; found {label}."
        )
    rows = {name: logits[None].detach().cpu().float() for name, logits in logits_by_name.items()}
    for name, logits in rows.items():
        _check_logits(logits, image[None], classes, f"logits of {name!r}")
    _check_images(image[None], logits.new_tensor([label]).long(), classes)
    columns = min(3, len(rows))
    lines = math.ceil(len(rows) / columns)
    with styled():
        width, height = _IMAGE + _NAMES + 2.15 * columns, lines * (0.19 * len(classes) + 0.62) + 0.55
        figure = new_figure(width, height)
        figure.set_layout_engine("none")  # solving a layout would take longer than drawing
        grid = figure.add_gridspec(
            lines,
            columns,
            left=(_IMAGE + _NAMES) / width,
            right=0.985,
            top=1 - 0.62 / height,
            bottom=0.5 / height,
            hspace=0.62 / (0.19 * len(classes)),
            wspace=0.1,
        )
        side = _IMAGE - 0.2
        shown = figure.add_axes((0.15 / width, (height - 0.62 - side) / height, side / width, side / height))
        show(shown, rgb(image))
        shown.set_anchor("NW")
        shown.set_title(f"label: {shorten(classes[label], 14)}", loc="left", fontsize=10)
        shares = {name: softened(logits, temperature)[0] for name, logits in rows.items()}
        for position, (name, share) in enumerate(shares.items()):
            line, column = divmod(position, columns)
            axes = figure.add_subplot(grid[line, column])
            _bars(axes, share, label, classes, named=column == 0)
            said = int(rows[name][0].argmax())
            nats = float(entropy(rows[name], temperature)[0])
            mark = RIGHT if said == label else WRONG
            axes.set_title(
                f"{shorten(name, 24)}\n{mark} {shorten(classes[said], 14)}, {nats:.2f} nats",
                fontsize=9.5,
                loc="left",
            )
            if position + columns >= len(shares):
                axes.set_xlabel(f"probability at T = {temperature:.3g}", fontsize=9)
            else:
                axes.tick_params(labelbottom=False)
        set_alt_text(figure, _describe(rows, shares, label, classes, temperature))
    return figure


def _bars(axes: Axes, share: Tensor, label: int, classes: Sequence[str], *, named: bool) -> None:
    values = share.tolist()
    bars = axes.barh(
        range(len(values)),
        values,
        height=0.74,
        color=PALETTE["sky"],
        edgecolor=PALETTE["blue"],
        linewidth=0.7,
    )
    bars[label].set(facecolor=PALETTE["blue"], edgecolor="white", hatch="///")
    for position in share.argsort(descending=True, stable=True)[:_PRINTED].tolist():
        axes.text(values[position] + 0.03, position, _probability(values[position]), va="center", fontsize=8)
    axes.set(xlim=(0, 1.28), ylim=(len(values) - 0.45, -0.55), xticks=[0, 0.5, 1])
    axes.set_xticklabels(["0", "0.5", "1"])
    axes.grid(False)
    names = [shorten(name, 13) for name in classes] if named else [""] * len(values)
    axes.set_yticks(range(len(values)), names, fontsize=8)
    axes.get_yticklabels()[label].set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)


def _describe(
    rows: Mapping[str, Tensor],
    shares: Mapping[str, Tensor],
    label: int,
    classes: Sequence[str],
    temperature: float,
) -> str:
    parts = [
        f"An image labelled {classes[label]} and the probabilities of {listed(list(rows))} softened at temperature "
        f"{temperature:.3g}; the largest possible entropy is {math.log(len(classes)):.2f} nats."
    ]
    for name, share in shares.items():
        values, order = share.sort(descending=True, stable=True)
        best = [
            f"{classes[int(index)]} {_probability(float(value))}"
            for value, index in zip(values[:_PRINTED], order[:_PRINTED], strict=True)
        ]
        nats = float(entropy(rows[name], temperature)[0])
        parts.append(f"{name}: {', '.join(best)}; entropy {nats:.2f} nats.")
    return " ".join(parts)
