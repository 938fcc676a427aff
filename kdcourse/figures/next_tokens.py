"""Draw what language models expect after the beginning of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from kdcourse.distillation import entropy, softened
from kdcourse.errors import ArgumentError
from kdcourse.figures.galleries import _probability
from kdcourse.figures.style import PALETTE, listed, new_figure, set_alt_text, shorten, styled


def next_tokens(
    beginning: str,
    logits_by_name: Mapping[str, Tensor],
    tokens: Sequence[str],
    temperature: float = 1.0,
    *,
    top: int = 8,
) -> Figure:
    """Draw one panel of bars per model: the probabilities of the tokens that it finds likeliest after ``beginning``.

    The bars of every panel are the first model's ``top`` tokens, the likeliest on top; ``␣`` stands for a space and
    ``⏎`` for the end of a line. A panel's title gives the entropy over all tokens, in nats.

    Args:
        beginning: the text so far.
        logits_by_name: model -> floating [V], its logits of the next token.
        tokens: the text of each of the V tokens.
        temperature: T > 0.
        top: bars per panel.

    Raises:
        ArgumentError: no model, logits of another number of tokens, ``top`` below 1, T not above 0.
    """
    if not logits_by_name or top < 1:
        raise ArgumentError(
            f"There must be logits of a model, and top, the bars per panel, at least 1; found {len(logits_by_name)} "
            f"models and top={top}."
        )
    rows = {name: logits.detach().cpu().float() for name, logits in logits_by_name.items()}
    for name, logits in rows.items():
        if logits.shape != (len(tokens),):
            raise ArgumentError(
                f"logits of {name!r} must be [{len(tokens)}], one per token; found {list(logits.shape)}. Pass those of "
                "the last position alone."
            )
    shares = {name: softened(logits[None], temperature)[0] for name, logits in rows.items()}
    first = next(iter(shares.values()))
    shown = first.argsort(descending=True, stable=True)[:top].tolist()
    names = [visible(tokens[token]) for token in shown]
    spread = {name: float(entropy(logits[None], temperature)[0]) for name, logits in rows.items()}
    with styled():
        figure = new_figure(1.3 + 2.35 * len(rows), 1.3 + 0.26 * len(shown))
        every = figure.subplots(1, len(rows), sharey=True, squeeze=False)[0]
        largest = max(float(share[shown].max()) for share in shares.values())
        end = next(end for end in (0.25, 0.5, 1.0) if largest <= end + 1e-6)
        for axes, (name, share) in zip(every, shares.items(), strict=True):
            _bars(axes, share[shown].tolist(), end)
            axes.set_title(f"{shorten(name, 24)}\nentropy {spread[name]:.2f} nats", fontsize=9.5, loc="left")
            axes.set_xlabel(f"probability at T = {temperature:.3g}", fontsize=9)
        every[0].set_yticks(range(len(shown)), names)
        figure.suptitle(f"after “{_end(beginning)}”", x=0.02, ha="left")
        parts = []
        for name, share in shares.items():
            values = [_probability(share[token].item()) for token in shown]
            bars = ", ".join(f"“{token}” {value}" for token, value in zip(names, values, strict=True))
            parts.append(f"{name}: {bars}; entropy {spread[name]:.2f} nats.")
        set_alt_text(
            figure,
            f"Probabilities of the next token after {_end(beginning)!r} at temperature {temperature:.3g}, as seen by "
            f"{listed(list(rows))}. {' '.join(parts)}",
        )
    return figure


def visible(token: str) -> str:
    """Return a token as it can be seen: spaces as ``␣``, ends of lines as ``⏎``."""
    seen = token.replace(" ", "␣").replace("\n", "⏎")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in seen) or "(nothing)"


def _end(text: str) -> str:
    """Return the last words of a text."""
    text = " ".join(text.split())
    return text if len(text) <= 48 else f"…{text[-47:]}"


def _bars(axes: Axes, values: Sequence[float], end: float) -> None:
    """Draw bars on an axis from 0 to ``end``, with room for their values."""
    axes.barh(
        range(len(values)),
        values,
        height=0.74,
        color=PALETTE["sky"],
        edgecolor=PALETTE["blue"],
        linewidth=0.7,
    )
    for position, value in enumerate(values):
        axes.text(value + 0.02 * end, position, _probability(value), va="center", fontsize=8)
    ticks = [0, end / 2, end]
    axes.set(xlim=(0, 1.25 * end), ylim=(len(values) - 0.45, -0.55), xticks=ticks)
    axes.set_xticklabels([f"{tick:g}" for tick in ticks])
    axes.grid(False)
    axes.tick_params(axis="y", length=0)
