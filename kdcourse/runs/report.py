"""The report of a run: one page that opens from disk, its figures, its numbers.

Every number and every verdict on the page is computed from the results; a sentence that they don't
bear isn't written. The page asks nothing of any network: figures and style sheet are inside it.
"""

from __future__ import annotations

import base64
import json
import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdcourse.errors import ArgumentError
from kdcourse.figures import alt_text, save
from kdcourse.figures.output import check_name, spoken
from kdcourse.figures.style import byte_size, count_word, listed, percent, shorten, significant
from kdcourse.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# SVG stays sharp at every size; a figure of many strokes is smaller as PNG.
LARGEST_SVG = 400_000  # bytes
MISSING = "–"


def write_report(results: Mapping[str, Any], figures: Mapping[str, Figure], folder: Path) -> Path:
    """Write ``results.json``, ``figures/NAME.png`` and ``.svg``, and ``report.html`` into ``folder``.

    Each file is written whole or not at all, the page last. NaN and infinity, which JSON doesn't
    know, become null, and a dash on the page.

    Args:
        results: what a run measured: "settings", "data", "models", "comparison", "made", "command"
            and, where there are any, "recorded" results to set beside it.
        figures: file name without ending -> a figure of `kdcourse.figures`.
        folder: made if need be.

    Returns:
        The path of ``report.html``.

    Raises:
        ArgumentError: results that lack a part or hold something that isn't plain data, a figure
            without alt text or with a name that can't name a file.
        OSError: the folder can't be written.
    """
    results = _checked(results)
    for name, figure in figures.items():
        check_name(name)
        alt_text(figure)
    folder = Path(folder)
    shown = []
    for name, figure in figures.items():
        png, svg = save(figure, folder / "figures", name)
        shown.append(_figure(name, alt_text(figure), png, svg, figure.get_size_inches().tolist()))
    write_atomically(
        folder / "results.json", json.dumps(results, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    )
    page = folder / "report.html"
    write_atomically(page, _page(results, shown))
    return page


def text_table(results: Mapping[str, Any]) -> str:
    """The table for the terminal, at most 100 columns wide: quality, cost, then what they come to.

    Raises:
        ArgumentError: results that lack a part.
    """
    results = _checked(results)
    first = "mean IoU" if _of_masks(results) else "accuracy"
    quality = [["model", first, "95 % interval", "NLL", "ECE", "agreement", "seeds"]]
    price = [["model", "parameters", "bytes", "MACs", "latency (IQR)", "pictures/s"]]
    for name, model in results["models"].items():
        scores, label = model["mean"], _label(name, model)
        quality.append(
            [
                label,
                _percent(_score(model)),
                _interval(model),
                _number(scores.get("nll"), "{:.4f}"),
                _number(scores.get("ece"), "{:.4f}"),
                _percent(scores.get("agreement")),
                str(len(model["runs"])) if len(model["runs"]) > 1 else "",
            ]
        )
        cost = model.get("cost") or {}
        price.append([label, *(show(cost) for _, _, show in _COSTS)])
    lines = [*_aligned(quality), "", *_aligned(price), ""]
    sentences = [_lead(results), _times(results), *_gap(results["comparison"], results)]
    recorded = results.get("recorded")
    if recorded:
        sentences += [_recorded_sentence(recorded), *_gap(recorded["comparison"], results, "recorded ")]
    for sentence in filter(None, sentences):
        lines += textwrap.wrap(sentence, 100, break_on_hyphens=False)
    return "\n".join(lines)


# -- what the results say --------------------------------------------------------------------


def _checked(results: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = _plain(results, "results")
    for part in ("made", "command", "settings", "data", "models", "comparison"):
        if part not in plain:
            raise ArgumentError(
                f"A report needs results[{part!r}]; found only {', '.join(plain) or 'nothing'}. "
                "Pass what kdcourse run wrote to results.json."
            )
    for role in ("plain", "distilled"):
        if not _of_role(plain, role):
            raise ArgumentError(
                f"A report compares a plain with a distilled student; found no model of role {role!r} among "
                f"{', '.join(plain['models']) or 'no models'}. Give results['models'] one of each."
            )
    return plain


def _plain(value: Any, where: str) -> Any:
    """A copy that JSON can hold: tuples become lists, NaN and infinity None."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(part, f"{where}[{key!r}]") for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_plain(part, f"{where}[{position}]") for position, part in enumerate(value)]
    raise ArgumentError(
        f"Results must be plain numbers, text, lists and dicts; found {type(value).__name__} at {where}. "
        "Convert it, for example with .item(), .tolist() or str()."
    )


def _of_role(results: Mapping[str, Any], role: str) -> list[dict[str, Any]]:
    return [
        {"label": _label(name, model), **model}
        for name, model in results["models"].items()
        if model.get("role") == role
    ]


def _label(name: str, model: Mapping[str, Any]) -> str:
    return str(model.get("label") or name.replace("_", " "))


def _of_masks(results: Mapping[str, Any]) -> bool:
    """Whether these are results of segmentation, compared by mean IoU; else of classification, by accuracy."""
    return any("iou" in model["mean"] for model in results["models"].values())


def _score(model: Mapping[str, Any]) -> float:
    """The figure that models are compared by."""
    value = model["mean"].get("iou", model["mean"].get("accuracy"))
    return math.nan if value is None else float(value)


def _difference(results: Mapping[str, Any]) -> tuple[float, str]:
    """Distilled minus plain, with the verdict: helped, hurt, unclear, or one seed."""
    found = results["comparison"].get("difference")
    if not found or found.get("low") is None or found.get("high") is None:
        return _score(_of_role(results, "distilled")[0]) - _score(_of_role(results, "plain")[0]), "one seed"
    verdict = "helped" if found["low"] > 0 else "hurt" if found["high"] < 0 else "unclear"
    return float(found["mean"]), verdict


_VERDICTS = {
    "helped": "Distillation helped",
    "hurt": "Distillation did harm",
    "unclear": "Distillation made no difference that these seeds can show",
    "one seed": "One seed: no verdict on distillation",
}


def _points(share: float) -> str:
    return f"{100 * share:.2f}"


def _lead(results: Mapping[str, Any], where: str = "") -> str:
    """The outcome in a sentence or two."""
    plain, distilled = _of_role(results, "plain")[0], _of_role(results, "distilled")[0]
    difference, verdict = _difference(results)
    found = results["comparison"].get("difference") or {}
    does, labels = ("reaches a mean IoU of", "masks") if _of_masks(results) else ("is right on", "labels")
    start = (
        f"{where or 'On the test pictures'}, the distilled student {does} {_percent(_score(distilled))}, "
        f"the same student trained on {labels} alone {does.split()[-1]} {_percent(_score(plain))}"
    )
    if verdict == "one seed":
        return (
            f"{start}: {100 * difference:+.2f} percentage points. One pair of runs can't tell an effect from chance; "
            "run several seeds for a verdict."
        )
    seeds = f"{count_word(found['n'])} paired seeds"
    interval = f"95 % interval {_points(found['low'])} to {_points(found['high'])}"
    if verdict == "unclear":
        return (
            f"{start}: a difference of {_points(difference)} percentage points, whose {interval} over {seeds} "
            "includes 0. It may as well be chance."
        )
    more = "more" if verdict == "helped" else "fewer"
    if verdict == "hurt":
        interval = f"95 % interval of the difference {_points(found['low'])} to {_points(found['high'])}"
    return f"{start}: {_points(abs(difference))} percentage points {more} ({interval}, {seeds})."


def _times(results: Mapping[str, Any]) -> str:
    """How much smaller and faster the student is than the ensemble, or the other way round."""
    comparison = results["comparison"]
    smaller, faster = comparison.get("times_smaller") or {}, comparison.get("times_faster") or {}
    parts = []
    for value, less, more in (
        (smaller.get("parameters"), "{} times fewer parameters", "{} times more parameters"),
        (smaller.get("bytes"), "{} times fewer bytes", "{} times more bytes"),
        (smaller.get("macs"), "{} times fewer multiply-accumulates", "{} times more multiply-accumulates"),
        (faster.get("latency"), "{} times less time for one picture", "{} times more time for one picture"),
        (faster.get("throughput"), "{} times more pictures a second", "{} times fewer pictures a second"),
    ):
        if value:
            parts.append(
                (less if value >= 1 else more).format(significant(value if value >= 1 else 1 / value))
            )
    return f"Student against {_teacher_word(results)}: {listed(parts)}." if parts else ""


def _teacher_word(results: Mapping[str, Any]) -> str:
    return "ensemble" if _of_role(results, "ensemble") else "teacher"


def _gap(comparison: Mapping[str, Any], results: Mapping[str, Any], kind: str = "") -> list[str]:
    """The share of the gap recovered, and what it means."""
    gap = comparison.get("gap_recovered")
    if not gap:
        return []
    name = f"{kind}gap recovered"
    name = name[:1].upper() + name[1:]
    if not gap.get("reported") or gap.get("value") is None:
        reason = str(gap.get("reason") or "the gap is too uncertain").rstrip(".")
        return [f"{name}: not reported, because {reason}."]
    value, low, high, teacher = gap["value"], gap["low"], gap["high"], _teacher_word(results)
    figure = f"{name}: {value:.2f} (95 % interval {low:.2f} to {high:.2f})."
    width = f"the {_points(gap['gap'])} percentage points between the plain student and the {teacher}"
    if high < 0:
        return [figure, f"Below 0: distillation widened {width}."]
    if low <= 0:
        return [figure, f"The interval includes 0: it isn't shown that distillation closes any of {width}."]
    if value >= 1:
        return [figure, f"Distillation closed {width}: the student is as good as its {teacher} or better."]
    return [figure, f"Distillation closed {percent(value, 0)} of {width}."]


def _recorded_sentence(recorded: Mapping[str, Any]) -> str:
    settings = recorded.get("settings") or {}
    extent = [f"{settings['epochs']} epochs"] if settings.get("epochs") else []
    if isinstance(settings.get("seeds"), list):
        extent.append(f"{len(settings['seeds'])} seeds")
    how = f" ({', '.join(extent)})" if extent else ""
    return _lead(recorded, f"In the recorded long schedule{how}")


def _steps(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    settings, data = results["settings"], results["data"]
    teachers, ensembles = _of_role(results, "teacher"), _of_role(results, "ensemble")
    steps = []
    if teachers:
        each = sorted(_score(teacher) for teacher in teachers)
        spread = _percent(each[0]) + ("" if len(each) == 1 else f" to {_percent(each[-1])}")
        who = "One teacher" if len(each) == 1 else f"{count_word(len(each)).capitalize()} teachers"
        if _of_masks(results):
            text = f"{who} reach{'es' * (len(each) == 1)} a mean IoU of {spread} on the test pictures."
        elif len(each) == 1:
            text = f"{who} is right on {spread} of the test pictures."
        else:
            text = f"{who} are each right on {spread} of the test pictures."
        if ensembles:
            together = _score(ensembles[0])
            verb = "more than any of them alone" if together > each[-1] else "no more than the best of them"
            what = settings.get("average") or "answers"
            text += f" Their {what}, averaged, make the ensemble: {_percent(together)}, {verb}."
        steps.append(("Teachers", text))
    views = settings.get("views")
    seen = f", in {views:,} views each" if isinstance(views, int) and views > 1 else ""
    pixels = ", pixel by pixel" if _of_masks(results) else ""
    train = f" about the {data['train']:,} training pictures{seen}" if data.get("train") else ""
    steps.append(
        (
            "Soft targets",
            f"The {_teacher_word(results)} was asked{train}{pixels}. Its answers, softened at temperature "
            f"{_setting(settings.get('temperature', MISSING))}, are the soft targets.",
        )
    )
    seeds = settings.get("seeds") or []
    alpha = settings.get("alpha")
    size = (_of_role(results, "distilled")[0].get("cost") or {}).get("parameters")
    student = f"{settings.get('student', 'the student')}" + (f" ({size:,} parameters)" if size else "")
    weights = (
        ""
        if alpha is None
        else f", with weight {alpha:g} on the soft targets and {1 - alpha:g} on the labels"
    )
    steps.append(
        (
            "Students",
            f"From each of {count_word(len(seeds))} seed{'s' * (len(seeds) != 1)}, {student} was trained twice for "
            f"{settings.get('epochs', MISSING)} epochs: on labels alone (the plain student), and on the "
            f"soft targets{weights} (the distilled student).",
        )
    )
    return steps


# -- numbers in tables -----------------------------------------------------------------------


def _number(value: float | None, form: str) -> str:
    return MISSING if value is None else form.format(value)


def _percent(value: float | None) -> str:
    return MISSING if value is None or not math.isfinite(value) else percent(value)


def _interval(model: Mapping[str, Any]) -> str:
    bounds = next(iter((model.get("interval") or {}).values()), None)
    if not bounds or None in bounds:
        return MISSING
    return f"{_points(bounds[0])} to {_points(bounds[1])}"


def _latency(cost: Mapping[str, Any]) -> str:
    if cost.get("latency_ms") is None:
        return MISSING
    spread = cost.get("latency_iqr_ms")
    return f"{significant(cost['latency_ms'])} ms" + (
        "" if spread is None else f" ({significant(spread, 2)})"
    )


def _macs(cost: Mapping[str, Any]) -> str:
    value = cost.get("macs")
    if value is None:
        return MISSING
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * scale:
            return f"{significant(value / scale)} {unit}"
    return str(value)


_COSTS: list[tuple[str, str, Callable[[Mapping[str, Any]], str]]] = [
    ("Parameters", "", lambda cost: _number(cost.get("parameters"), "{:,}")),
    ("Bytes", "", lambda cost: MISSING if cost.get("bytes") is None else byte_size(cost["bytes"])),
    ("MACs", "a picture", _macs),
    ("Latency", "median (IQR)", _latency),
    ("Throughput", "pictures a second", lambda cost: _number(cost.get("throughput"), "{:,.0f}")),
]


_MASK_FIGURES = (
    ("Pixel accuracy", "accuracy"),
    ("Boundary IoU", "boundary_iou"),
    ("Average precision", "average_precision"),
)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as text: the first column to the left, the others to the right, a rule under the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(1, len(rows[0]))]
    room = 100 - sum(widths) - 2 * len(widths)
    names = [shorten(row[0], max(8, room)) for row in rows]
    first = max(map(len, names))
    lines = [
        "  ".join(
            [name.ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=True))]
        )
        for name, row in zip(names, rows, strict=True)
    ]
    return [lines[0].rstrip(), "-" * max(map(len, lines)), *(line.rstrip() for line in lines[1:])]


# -- the page --------------------------------------------------------------------------------

_CAPTIONS = {
    "training_curves": (
        "Loss and accuracy by epoch, validation solid, training dashed; where there are several seeds, the "
        "line is their mean and the band reaches from the lowest to the highest. A training loss is that of "
        "the model's own objective, so only validation losses compare."
    ),
    "recorded_curves": "The same curves for the recorded long schedule.",
    "reliability_diagram": (
        "Above, the accuracy of the answers given with a certain confidence; on the dashed line a model is right "
        "as often as it believes. What is hatched is the difference. Below, how many answers each bin holds: "
        "where there are few, the bar above says little."
    ),
    "accuracy_against_cost": "How good each model is, and what it costs. Upwards is better, to the left is cheaper.",
    "soft_target_gallery": (
        "The teacher's soft targets, the label's class in bold. A higher temperature lifts the small "
        "probabilities, which say what a picture resembles."
    ),
    "segmentation_curves": (
        "Loss and mean IoU by epoch, training and validation. A training loss is that of the model's own "
        "objective, so only validation losses compare."
    ),
    "predicted_masks": (
        "The first test pictures, not the best ones: the true mask, and what teacher, plain and distilled student "
        "predict. Black lines are the borders of the true mask."
    ),
    "precision_recall_curves": (
        "Every pixel and class pooled, one threshold after another. A curve further to the upper right is better; "
        "the average precision is the area below it."
    ),
    "iou_bars": "Intersection over union, class by class.",
    "disagreements": "Pictures for which teacher and student name different classes, not chosen in any way.",
}

_GLOSSARY = (
    ("Ensemble", "Several teachers asked together; what they answer is averaged."),
    (
        "Soft targets",
        "The teacher's probabilities for all classes, which the student learns to give itself. A label names one "
        "class only.",
    ),
    (
        "Temperature",
        "Logits are divided by it before they become probabilities. 1 changes nothing; higher makes "
        "probabilities more alike.",
    ),
    ("Alpha", "The weight of the soft targets in the loss. What remains of 1 is the weight of the labels."),
    (
        "Expected calibration error (ECE)",
        "How far a model's confidence is from its accuracy, averaged over the pictures. 0: it is right as often as "
        "it believes.",
    ),
    (
        "Intersection over union (IoU)",
        "Of the pixels that are of a class or are given it, the share that both holds for. Mean IoU is the mean over "
        "the classes that occur.",
    ),
    (
        "Boundary IoU",
        "The same, of the pixels near the borders of what is there and of what is predicted.",
    ),
    (
        "Average precision",
        "The area under the precision-recall curve: of the pixels called a class, the share that is one, at every "
        "share of the class found.",
    ),
    (
        "Gap recovered",
        "The share of the score between plain student and teacher that distillation wins: (distilled − plain) / "
        "(teacher − plain). 0: nothing, 1: all of it.",
    ),
)

_MASK_TERMS = ("Intersection over union (IoU)", "Boundary IoU", "Average precision")

_SETTING_NAMES = {
    "student": "Student",
    "temperature": "Temperature",
    "alpha": "Alpha",
    "epochs": "Epochs",
    "seeds": "Seeds",
    "batch_size": "Batch size",
    "learning_rate": "Learning rate",
    "views": "Views of each picture",
    "optimizer": "Optimiser",
    "average": "Ensemble averages",
    "processor": "Processor",
    "threads": "Threads",
    "device": "Device",
    "precision": "Precision",
    "python": "Python",
    "torch": "torch",
    "torchvision": "torchvision",
    "system": "System",
}


def _text(words: object) -> str:
    """Escaped for HTML, anywhere; a number keeps its sign and its unit on one line."""
    joined = re.sub(r"(?<=\d) (?=%|ms\b|[kMG]?B\b)", "\u00a0", str(words))
    return escape(re.sub(r"(?<![\w.,-])-(?=\d)", "−", joined), quote=True)


def _scrolling(content: str, label: str) -> str:
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{_text(label)}">\n{content}\n</div>'


def _main_table(results: Mapping[str, Any]) -> str:
    masks = _of_masks(results)
    heads = [
        ("Mean IoU" if masks else "Accuracy", "95 % interval"),
        *((name, "") for name, _ in _MASK_FIGURES if masks),
        ("NLL", "nats a pixel" if masks else "nats"),
        ("ECE", ""),
        ("Agreement", f"with the {_teacher_word(results)}"),
        *((name, unit) for name, unit, _ in _COSTS),
    ]
    head = "".join(
        f'<th scope="col">{_text(name)}' + (f"<small>{_text(unit)}</small>" if unit else "") + "</th>"
        for name, unit in heads
    )
    body = []
    for name, model in results["models"].items():
        scores, cost, runs = model["mean"], model.get("cost") or {}, len(model["runs"])
        interval = _interval(model)
        cells = [
            _text(_percent(_score(model))) + f"<small>{_text(interval)}</small>",
            *(_text(_percent(scores.get(key))) for _, key in _MASK_FIGURES if masks),
            _text(_number(scores.get("nll"), "{:.4f}")),
            _text(_number(scores.get("ece"), "{:.4f}")),
            _text(_percent(scores.get("agreement"))),
            *(_text(show(cost)) for _, _, show in _COSTS),
        ]
        note = f"<small>mean of {runs} seeds</small>" if runs > 1 else ""
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        kind = ' class="result"' if model.get("role") == "distilled" else ""
        body.append(f'<tr{kind}><th scope="row">{_text(_label(name, model))}{note}</th>{row}</tr>')
    several = any(len(model["runs"]) > 1 for model in results["models"].values())
    single = any(
        len(model["runs"]) == 1 and _interval(model) != MISSING for model in results["models"].values()
    )
    size = results["data"].get("test")
    caption = f"All models on the {size:,} test pictures." if size else "All models on the test pictures."
    if several:
        caption += " The interval of a model trained several times is over its seeds."
    if single:
        caption += " The interval of a model trained once is over the draw of the test pictures."
    table = (
        f'<table class="wide">\n<caption><span>{_text(caption)}</span></caption>\n'
        f'<thead><tr><th scope="col">Model</th>{head}</tr>'
        f"</thead>\n<tbody>\n{chr(10).join(body)}\n</tbody>\n</table>"
    )
    return _scrolling(table, "Table of all models")


def _recorded(results: Mapping[str, Any]) -> str:
    recorded = results.get("recorded")
    if not recorded:
        return ""
    rows: list[list[str]] = []
    for role in ("plain", "distilled"):
        row = [f"{'Mean IoU' if _of_masks(results) else 'Accuracy'}, {role} student"]
        for source in (results, recorded):
            model = _of_role(source, role)[0]
            interval = _interval(model)
            row.append(_percent(_score(model)) + ("" if interval == MISSING else f" ({interval})"))
        rows.append(row)
    differences, gaps = ["Difference, percentage points"], ["Gap recovered"]
    for source in (results, recorded):
        found = source["comparison"].get("difference") or {}
        value, verdict = _difference(source)
        interval = "" if verdict == "one seed" else f" ({_points(found['low'])} to {_points(found['high'])})"
        differences.append(f"{100 * value:+.2f}{interval}")
        gap = source["comparison"].get("gap_recovered") or {}
        if gap.get("reported") and gap.get("value") is not None:
            gaps.append(f"{gap['value']:.2f} ({gap['low']:.2f} to {gap['high']:.2f})")
        else:
            gaps.append("not reported")
    rows += [differences, gaps]
    body = "\n".join(
        f'<tr><th scope="row">{_text(row[0])}</th><td>{_text(row[1])}</td><td>{_text(row[2])}</td></tr>'
        for row in rows
    )
    heads = [_extent("This run", results["settings"]), _extent("Recorded", recorded.get("settings") or {})]
    table = (
        "<table>\n<caption><span>This run beside the recorded one, 95 % intervals in brackets.</span></caption>\n"
        f'<thead><tr><th scope="col">Result</th>{"".join(heads)}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>'
    )
    sentences = [_recorded_sentence(recorded), *_gap(recorded["comparison"], results, "recorded ")]
    command = recorded.get("command")
    repeat = f"<p>Recorded with:</p>\n{_command(command)}" if command else ""
    return (
        '<section aria-labelledby="recorded">\n<h2 id="recorded">A longer schedule, recorded</h2>\n'
        f"<p>{_text(' '.join(sentences))}</p>\n{_scrolling(table, 'This run beside the recorded one')}\n{repeat}\n"
        f'<div class="pair">{_pairs("Recorded settings", recorded.get("settings") or {})}</div>\n'
        "</section>"
    )


def _extent(name: str, settings: Mapping[str, Any]) -> str:
    seeds = settings.get("seeds")
    parts = [f"{settings['epochs']} epochs"] if settings.get("epochs") else []
    if isinstance(seeds, list):
        parts.append(f"{len(seeds)} seed{'s' * (len(seeds) != 1)}")
    return f'<th scope="col">{_text(name)}<small>{_text(", ".join(parts))}</small></th>'


def _command(command: object) -> str:
    # Escaped only: a command must stay what it is, to the character.
    return (
        '<div class="scroll" role="region" tabindex="0" aria-label="Command">'
        f"<pre><code>{escape(str(command))}</code></pre></div>"
    )


def _figure(name: str, alt: str, png: Path, svg: Path, inches: Sequence[float]) -> str:
    kind, content = "image/svg+xml", svg.read_bytes()
    if len(content) > LARGEST_SVG:
        kind, content = "image/png", png.read_bytes()
    data = base64.b64encode(content).decode()
    width, height = (round(96 * inch) for inch in inches)
    caption = _CAPTIONS.get(name, "")
    title = spoken(name)
    # As a picture, an SVG runs no script, fetches nothing and shares no identifiers with the page.
    picture = f'<img src="data:{kind};base64,{data}" width="{width}" height="{height}" alt="{escape(alt, quote=True)}">'
    return (
        f'<figure id="figure-{name}">\n<div class="scroll card" role="region" tabindex="0" '
        f'aria-label="{_text(title)}">{picture}</div>\n'
        f"<figcaption><strong>{_text(title)}.</strong> {_text(caption)}</figcaption>\n</figure>"
    )


def _glance(results: Mapping[str, Any]) -> str:
    plain, distilled = _of_role(results, "plain")[0], _of_role(results, "distilled")[0]
    comparison = results["comparison"]
    difference, verdict = _difference(results)
    found = comparison.get("difference") or {}
    cards = [
        ("Distilled student", _percent(_score(distilled)), f"plain student {_percent(_score(plain))}"),
        (
            "Difference",
            f"{100 * difference:+.2f} points",
            "one seed, no interval"
            if verdict == "one seed"
            else f"95 % interval {_points(found['low'])} to {_points(found['high'])}",
        ),
    ]
    gap = comparison.get("gap_recovered") or {}
    if gap.get("reported") and gap.get("value") is not None:
        cards.append(
            ("Gap recovered", f"{gap['value']:.2f}", f"95 % interval {gap['low']:.2f} to {gap['high']:.2f}")
        )
    elif gap:
        cards.append(("Gap recovered", "not reported", "why, is said below"))
    smaller = (comparison.get("times_smaller") or {}).get("parameters")
    if smaller:
        how = "smaller" if smaller >= 1 else "larger"
        size = significant(smaller if smaller >= 1 else 1 / smaller)
        cards.append((f"Times {how}", size, f"parameters, {_teacher_word(results)} and student"))
    items = "\n".join(
        f"<div><dt>{_text(name)}</dt><dd><b>{_text(value)}</b><small>{_text(note)}</small></dd></div>"
        for name, value, note in cards
    )
    return f'<dl class="glance">\n{items}\n</dl>'


def _pairs(caption: str, values: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f'<tr><th scope="row">{_text(_SETTING_NAMES.get(key, spoken(key)))}</th><td>{_text(_setting(value))}</td></tr>'
        for key, value in values.items()
    )
    return _scrolling(
        f"<table>\n<caption><span>{_text(caption)}</span></caption>\n<tbody>\n{rows}\n</tbody>\n</table>",
        caption,
    )


def _setting(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_setting, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_setting(part)}" for key, part in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _made(results: Mapping[str, Any]) -> str:
    made, parts = results["made"], []
    date = made.get("date")
    if date:
        try:
            when = datetime.fromisoformat(str(date))
            parts.append(f"on {when.day} {when:%B %Y} at {when:%H:%M} {when.tzname() or ''}".rstrip())
        except ValueError:
            parts.append(f"on {date}")
    if made.get("seconds") is not None:
        minutes, seconds = divmod(round(made["seconds"]), 60)
        parts.append(f"in {minutes} min {seconds} s" if minutes else f"in {seconds} s")
    version = results.get("kdcourse")
    return f"Made {' '.join(parts)}{f' by kdcourse {version}' if version else ''}."


def _page(results: Mapping[str, Any], figures: Sequence[str]) -> str:
    verdict = _VERDICTS[_difference(results)[1]]
    data, student = results["data"], results["settings"].get("student", "student")
    name = str(data.get("name") or "your own pictures")
    steps = "\n".join(
        f"<li><strong>{_text(head)}.</strong> {_text(words)}</li>" for head, words in _steps(results)
    )
    meaning = " ".join(_gap(results["comparison"], results))
    classes = data.get("classes") or []
    about = [f"{name}: {len(classes)} classes ({', '.join(map(str, classes))})"] if classes else [name]
    about += [
        f"{data[part]:,} {part}" for part in ("train", "validation", "test") if data.get(part) is not None
    ]
    of_masks = _of_masks(results)
    terms = [(term, words) for term, words in _GLOSSARY if of_masks or term not in _MASK_TERMS]
    glossary = "\n".join(f"<dt>{_text(term)}</dt><dd>{_text(words)}</dd>" for term, words in terms)
    alike = "pixels to which a model gives the" if of_masks else "pictures for which a model names the"
    gallery = (
        f'<section aria-labelledby="figures">\n<h2 id="figures">Figures</h2>\n{chr(10).join(figures)}\n</section>'
        if figures
        else ""
    )
    machine = results["made"].get("machine") or {}
    return f"""<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{_text(verdict)}: {_text(student)} on {_text(name)}</title>
<style>
{_CSS}</style>
</head>
<body>
<main>
<header>
<p class="kicker">Knowledge distillation report · {_text(name)} · {_text(student)}</p>
<h1>{_text(verdict)}</h1>
<p class="lead">{_text(_lead(results))}</p>
{_glance(results)}
</header>
<section aria-labelledby="story">
<h2 id="story">What happened</h2>
<ol>
{steps}
</ol>
</section>
<section aria-labelledby="table">
<h2 id="table">All models</h2>
{_main_table(results)}
<p class="note">NLL: mean negative log-likelihood of the right class. Agreement: {alike}
same class as the {_teacher_word(results)}. MACs: multiply-accumulates for one picture. Latency: median time for
one picture, with the range between the quartiles (IQR). Latency and throughput are of this machine.</p>
<p>{_text(_times(results))}</p>
<p>{_text(meaning)}</p>
</section>
{_recorded(results)}
{gallery}
<section aria-labelledby="how">
<h2 id="how">How it was made</h2>
<p>{_text(_made(results))} Data: {_text("; ".join(about))}.</p>
<p>To repeat it:</p>
{_command(results["command"])}
<div class="pair">
{_pairs("Settings", results["settings"])}
{_pairs("Machine", machine)}
</div>
<p>All numbers are in <code>results.json</code>, the figures as PNG and SVG in <code>figures</code>, both beside this
page.</p>
</section>
<section aria-labelledby="glossary">
<h2 id="glossary">Glossary</h2>
<dl class="glossary">
{glossary}
</dl>
</section>
</main>
</body>
</html>
"""


_CSS = """:root {
  --ground: #ffffff; --text: #1c1d21; --muted: #54575f; --accent: #00598c; --tint: #eaf3f9; --line: #d4d7dd;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ground: #15171b; --text: #e7e8eb; --muted: #abafb8; --accent: #86c8f3; --tint: #1d2a34; --line: #3a3e47;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 76rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
p, ol, h1, .glossary { max-width: 46rem; overflow-wrap: anywhere; }
h1 { font-size: clamp(1.6rem, 1.2rem + 2vw, 2.4rem); line-height: 1.2; margin: 0.2rem 0 0.8rem; }
h2 { font-size: 1.35rem; margin: 2.5rem 0 0.6rem; border-top: 1px solid var(--line); padding-top: 1.2rem; }
.kicker { color: var(--muted); font-size: 0.9rem; margin: 0; }
.lead { font-size: 1.15rem; }
.note, figcaption, caption { color: var(--muted); font-size: 0.9rem; }
li { margin-bottom: 0.4rem; }
small { display: block; font-size: 0.8rem; font-weight: normal; color: var(--muted); }
.glance { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 0.8rem; margin: 1.5rem 0; }
.glance div { background: var(--tint); border-left: 4px solid var(--accent); border-radius: 4px; padding: 0.7rem 1rem; }
.glance dt { font-size: 0.9rem; color: var(--muted); }
.glance dd { margin: 0; }
.glance b { font-size: clamp(1.15rem, 1rem + 1vw, 1.5rem); color: var(--accent); font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; max-width: 100%; }
.scroll:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
table.wide { width: 100%; }
caption { text-align: left; padding-bottom: 0.5rem; caption-side: top; }
/* A caption is as wide as its table: this keeps its words where they are seen. */
caption span { display: block; max-width: min(46rem, calc(100vw - 3.4rem)); }
th, td { padding: 0.4rem 0.7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--text); }
.wide td, .wide thead th + th { text-align: right; white-space: nowrap; }
.wide thead small { white-space: normal; }
.wide th, .wide td { padding: 0.4rem 0.5rem; }
.wide tbody th { min-width: 7.5rem; }
tbody th { font-weight: 600; }
.result th, .result td { background: var(--tint); font-weight: 700; }
figure { margin: 1.8rem 0 2.4rem; }
.card { background: #ffffff; border: 1px solid var(--line); border-radius: 6px; padding: 0.5rem; }
.card img { display: block; max-width: 100%; height: auto; margin: 0 auto; color: #1c1d21; }
figcaption { max-width: 46rem; margin-top: 0.5rem; }
figcaption strong { color: var(--text); }
pre {
  margin: 0; padding: 0.7rem 1rem; background: var(--tint); border-radius: 4px; width: max-content; min-width: 100%;
}
code { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 0.9rem; }
.pair {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1.5rem; margin: 1.2rem 0;
}
.pair table { width: 100%; }
.pair td { overflow-wrap: anywhere; }
.glossary dt { font-weight: 700; margin-top: 0.8rem; }
.glossary dd { margin: 0; }
@media screen and (max-width: 45rem) {
  /* Letters in a figure stay legible: it scrolls inside its card instead of shrinking. */
  .card img { max-width: none; width: 42rem; margin: 0; }
  .wide tbody th { position: sticky; left: 0; background: var(--ground); max-width: 8rem; }
  .wide tr.result th { background: var(--tint); }
}
@media print {
  main { max-width: none; padding: 0; }
  .scroll { overflow: visible; }
  pre { white-space: pre-wrap; width: auto; }
  figure, tr, .glance { break-inside: avoid; }
  h2 { break-after: avoid; }
  table.wide { font-size: 0.65rem; }
  .wide small { font-size: 0.6rem; }
  .wide th, .wide td { padding: 0.25rem 0.3rem; white-space: normal; }
}
"""
