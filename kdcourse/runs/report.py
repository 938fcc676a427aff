"""Write the report of a run: one HTML page that opens from disk, its figures, its numbers.

Every number and every verdict on the page is computed from the results. The page loads nothing from a network:
figures and style sheet are inside it. ``report.html`` beside this module is its template.
"""

from __future__ import annotations

import base64
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdcourse.distillation import methods
from kdcourse.distillation.choice import USUAL
from kdcourse.figures import alt_text, save
from kdcourse.figures.output import check_name, spoken
from kdcourse.figures.style import count_word, listed, percent, shorten, significant
from kdcourse.files import write_atomically
from kdcourse.pages import render
from kdcourse.runs.findings import (
    MISSING,
    VERDICTS,
    Findings,
    checked,
    costs,
    extent,
    flips_in_words,
    interval,
    number,
    score,
    share,
    share_range,
)
from kdcourse.runs.study import STUDIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST = ("accuracy_against_cost",)  # figures that stand directly below the tiles
# SVG stays sharp at every size; a figure of many strokes is smaller as PNG.
LARGEST_SVG = 400_000  # bytes
_WIDTH = 100  # columns of the terminal's table
_MASK_SCORES = {
    "Pixel accuracy": "accuracy",
    "Boundary IoU": "boundary_iou",
    "Average precision": "average_precision",
}
_SOFT_TARGETS = ("kd", "pixelwise")  # methods that compare predictions, softened by a temperature
_SETTING_NAMES = {
    "views": "Views per image",
    "optimizer": "Optimiser",
    "average": "Ensemble averages",
    "torch": "torch",
    "torchvision": "torchvision",
}


def write_report(results: Mapping[str, Any], figures: Mapping[str, Figure], folder: Path) -> Path:
    """Write ``results.json``, ``figures/NAME.png`` and ``.svg``, and ``report.html`` into ``folder``.

    Each file is written whole or not at all, the page last. JSON has no NaN and no infinity: they become null, and a
    dash on the page.

    Args:
        results: what a run measured: "settings", "data", "models", "comparison", "made", "command"
            and, where there are any, "recorded" results to show beside it, "studies" as
            `kdcourse.runs.study.curves` returns them, and "labels", how many images had one.
        figures: file name without ending -> a figure of `kdcourse.figures`.
        folder: created if it doesn't exist.

    Returns:
        The path of ``report.html``.

    Raises:
        ArgumentError: a part of the results is missing or isn't plain data, a figure has no alt text, or its name
            can't name a file.
        OSError: the folder can't be written.
    """
    results = checked(results)
    for name, figure in figures.items():
        check_name(name)
        alt_text(figure)
    folder = Path(folder)
    shown = [_figure(name, figure, folder / "figures") for name, figure in figures.items()]
    text = json.dumps(results, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    write_atomically(folder / "results.json", text)
    page = folder / "report.html"
    values = _typeset(_values(results))
    write_atomically(
        page,
        render(
            Path(__file__).with_name("report.html"),
            **values,
            first=[figure for figure in shown if figure["name"] in FIRST],
            studies=_typeset(_studies(results.get("studies") or {}, shown)),
            figures=[figure for figure in shown if figure["name"] not in (*FIRST, *map(curve_name, STUDIES))],
            command=results["command"],
            recorded_command=(results.get("recorded") or {}).get("command"),
        ),
    )
    return page


def text_table(results: Mapping[str, Any]) -> str:
    """Return the results for the terminal, at most 100 columns wide: scores, costs, then a summary in sentences.

    Raises:
        ArgumentError: a part of the results is missing.
    """
    results = checked(results)
    found = Findings(results)
    quality = [["model", found.metric, "95 % interval", "NLL", "ECE", "agreement", "seeds"]]
    price = [["model", "parameters", "bytes", "MACs", "latency (IQR)", "images/s"]]
    for model in found.models:
        runs = len(model["runs"])
        quality.append(
            [
                model["label"],
                share(score(model)),
                interval(model),
                *_scores(model),
                str(runs) if runs > 1 else "",
            ]
        )
        price.append([model["label"], *costs(model)])
    sentences = [found.lead(), found.against_labels(), found.times(), *found.meaning()]
    if results.get("recorded"):
        recorded = Findings(results["recorded"], found.teacher)
        sentences += [recorded.lead_recorded(), *recorded.meaning("recorded ")]
    lines = [*_aligned(_known(quality)), "", *_aligned(_known(price)), ""]
    for sentence in filter(None, sentences):
        lines += textwrap.wrap(sentence, _WIDTH, break_on_hyphens=False)
    return "\n".join(lines)


def _known(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Leave out columns without a value below their head."""
    known = [any(cell not in ("", MISSING) for cell in column[1:]) for column in zip(*rows, strict=True)]
    return [[cell for cell, there in zip(row, known, strict=True) if there] for row in rows]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format rows as text: the first column to the left, the others to the right, a rule under the head."""
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[1:]]
    names = [shorten(row[0], max(8, _WIDTH - sum(widths) - 2 * len(widths))) for row in rows]
    first = max(map(len, names))
    lines = [
        "  ".join(
            [name.ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=True))]
        )
        for name, row in zip(names, rows, strict=True)
    ]
    return [lines[0].rstrip(), "-" * max(map(len, lines)), *(line.rstrip() for line in lines[1:])]


def _scores(model: Mapping[str, Any]) -> list[str]:
    scores = model["mean"]
    nll, ece = (number(scores.get(name), "{:.4f}") for name in ("nll", "ece"))
    return [nll, ece, share(scores.get("agreement"))]


# -- the values of the page --------------------------------------------------------------------


def _values(results: Mapping[str, Any]) -> dict[str, Any]:
    found, data, settings = Findings(results), results["data"], results["settings"]
    recorded = results.get("recorded")
    return {
        "verdict": VERDICTS[found.verdict],
        "student": settings.get("student", "student"),
        "data": {
            "name": data.get("name") or "your own images",
            "classes": data.get("classes") or [],
            "sizes": [f"{data[part]:,} {part}" for part in ("train", "validation", "test") if data.get(part)],
        },
        "lead": " ".join(filter(None, [found.lead(), found.against_labels()])),
        "tiles": _tiles(found),
        "steps": _steps(found, data, flips_in_words(results.get("augmentation"), found.metric)),
        "table": _table(found, data),
        "teacher": found.teacher,
        "few": bool(found.few),
        "agreement": any(model["mean"].get("agreement") is not None for model in found.models),
        "masks": found.masks,
        "label": found.label,
        "times": found.times(),
        "meaning": " ".join(found.meaning()),
        "recorded": _recorded(found, Findings(recorded, found.teacher)) if recorded else None,
        "made": _made(results),
        "settings": _settings(settings),
        "machine": _settings(results["made"].get("machine") or {}),
    }


def _typeset(value: Any) -> Any:
    """Give numbers a minus sign, and a space before the unit at which no line breaks."""
    if isinstance(value, str):
        joined = re.sub(r"(?<=\d) (?=%|ms\b|[kMG]?B\b)", "\u00a0", value)
        return re.sub(r"(?<![\w.,-])-(?=\d)", "−", joined)
    if isinstance(value, Mapping):
        return {key: _typeset(part) for key, part in value.items()}
    return [_typeset(part) for part in value] if isinstance(value, (list, tuple)) else value


def _figure(name: str, figure: Figure, folder: Path) -> dict[str, Any]:
    """Save a figure, and return it as the page shows it, with its content in a data URL."""
    png, svg = save(figure, folder, name)
    kind, content = "svg+xml", svg.read_bytes()
    if len(content) > LARGEST_SVG:
        kind, content = "png", png.read_bytes()
    width, height = (round(96 * inch) for inch in figure.get_size_inches().tolist())
    return {
        "name": name,
        "title": spoken(name),
        "alt": alt_text(figure),
        "source": f"data:image/{kind};base64,{base64.b64encode(content).decode()}",
        "width": width,
        "height": height,
    }


def _tiles(found: Findings) -> list[tuple[str, str, str]]:
    """Return the main results as triples of name, value and note: size, speed, accuracy, then what was gained."""
    tiles, teacher = [], found.teacher
    if found.smaller:
        size = (found.distilled.get("cost") or {}).get("parameters")
        value = f"1/{found.smaller:.0f}" if found.smaller >= 2 else f"{significant(1 / found.smaller)} times"
        tiles.append(("Size", value, f"of the {teacher}'s parameters{f': {size:,}' if size else ''}"))
    if found.faster:
        how = "faster" if found.faster >= 1 else "slower"
        times = significant(max(found.faster, 1 / found.faster), 2)
        tiles.append(("Speed", f"{times} times", f"{how} than the {teacher}, one image at a time"))
    alone = f"{found.few['few']:,} {found.label}s" if found.few else "plain student"
    by = [
        f"{alone} {share(score(found.plain))}",
        *(f"{teacher} {share(score(of))}" for of in found.of_role("ensemble")),
    ]
    tiles.append((found.metric[0].upper() + found.metric[1:], share(score(found.distilled)), ", ".join(by)))
    if saved := found.labels_saved():
        tiles.append((f"{found.label}s saved".capitalize(), *saved))
    else:
        note = f"95 % interval {found.interval}" if found.interval else "one seed, no interval"
        tiles.append(("Difference", f"{found.signed_difference} points", note))
    if found.gap_reported:
        tiles.append(
            ("Gap recovered", percent(found.gap["value"], 0), f"95 % interval {share_range(found.gap)}")
        )
    elif found.gap:
        tiles.append(("Gap recovered", "not reported", "the reason is below"))
    return tiles


def curve_name(study: str) -> str:
    """Return the name of the figure of a study's curves."""
    return f"{study}_curve"


def _studies(studies: Mapping[str, Any], figures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the studies as the page shows them: figure, finding, and a table of the figure's numbers."""
    by_name = {figure["name"]: figure for figure in figures}
    shown = []
    for name, study in studies.items():
        lines: dict[str, list[dict[str, Any]]] = study["lines"]
        numbers = sorted({entry["x"] for entries in lines.values() for entry in entries})
        cells = [{entry["x"]: _with_interval(entry) for entry in entries} for entries in lines.values()]
        seeds = sorted({entry["seeds"] for entries in lines.values() for entry in entries})
        shown.append(
            {
                "figure": by_name.get(curve_name(name)),
                "finding": study["finding"],
                "command": study["command"],
                "caption": f"{study['title']}: test {study['score']} in %, mean of {' or '.join(map(str, seeds))} "
                f"seeds (95 % interval). Ensemble: {share(study['teacher'])}.",
                "heads": [(study["x"][0].upper() + study["x"][1:], ""), *((name, "") for name in lines)],
                "rows": [(f"{x:,}", [column.get(x, MISSING) for column in cells]) for x in numbers],
            }
        )
    return shown


def _with_interval(entry: Mapping[str, float]) -> str:
    low, high = (f"{100 * entry[bound]:.2f}" for bound in ("low", "high"))
    return f"{100 * entry['accuracy']:.2f} ({low} to {high})"


def _steps(found: Findings, data: Mapping[str, Any], chosen: str) -> list[tuple[str, str]]:
    """Return what was done, as pairs of a heading and sentences; ``chosen`` is about the teachers' augmentation."""
    settings, steps = found.settings, []
    each = sorted(score(teacher) for teacher in found.of_role("teacher"))
    if each:
        several = len(each) > 1
        who = f"{count_word(len(each)).capitalize()} teacher{'s' * several}"
        spread = " to ".join(dict.fromkeys((share(each[0]), share(each[-1]))))
        half = ", trained on the labels of the other half of the images," if found.few else ""
        if found.few and found.masks:
            half = ", trained on other scenes,"
        text = (
            f"{who}{half} reach{'' if several else 'es'} {'a' if found.masks else 'an'} {found.metric} of {spread} "
            "on the test images."
        )
        for ensemble in found.of_role("ensemble")[:1]:
            better = score(ensemble) > each[-1]
            verb = "more than any of them alone" if better else "no more than the best of them"
            average = settings.get("average") or "predictions"
            text += f" The ensemble averages their {average} and reaches {share(score(ensemble))}, {verb}."
        steps.append(("Teachers", f"{text} {chosen}".rstrip()))
    views = settings.get("views")
    seen = f", in {views:,} views each," if isinstance(views, int) and views > 1 else ""
    where = f" for the {data['train']:,} training images{seen}" if data.get("train") else ""
    if found.few:
        where = f" for {found.few['images']:,} images that it never saw"
    pixels = ", pixel by pixel" if found.masks else ""
    temperature = settings.get("temperature")
    terms = _terms(found)
    soft = not terms or not terms.keys().isdisjoint(_SOFT_TARGETS)
    softened = (
        f" Softened at temperature {_setting(temperature)}, they are the soft targets."
        if soft and temperature is not None
        else ""
    )
    if any(methods.describe(name).layers for name in terms if name in methods.names()):
        text = f"The {found.teacher}'s feature maps{where} were computed during training, batch by batch."
        steps.append(("Features", text))
    else:
        text = f"The {found.teacher}'s predictions{where} {'are' if found.few else 'were'} stored{pixels}.{softened}"
        steps.append(("Soft targets" if soft else "Teacher predictions", text))
    seeds, alpha = settings.get("seeds") or [], settings.get("alpha")
    size = (found.distilled.get("cost") or {}).get("parameters")
    student = f"{settings.get('student', 'the student')}{f' ({size:,} parameters)' if size else ''}"
    start = "For one seed" if len(seeds) == 1 else f"For each of {count_word(len(seeds))} seeds"
    taught = "the soft targets" if soft else f"the {found.teacher}'s outputs"
    weights = ""
    if alpha is not None:
        named = {name: "the soft targets" if name in _SOFT_TARGETS else f"the {name} term" for name in terms}
        parts = [f"{weight:g} on {named[name]}" for name, weight in terms.items()]
        weights = f", with weight {listed([*parts, f'{1 - alpha:g} on the labels'])}"
    if found.few:
        many, few = (f"{found.few[name]:,}" for name in ("images", "few"))
        text = (
            f"{start}, {student} was trained three times, with the same number of steps: on {few} {found.label}s, on "
            f"the true {found.label}s of all {many} images, and on {taught} of all {many} images without one "
            f"{found.label}."
        )
        return [*steps, ("Students", text)]
    steps.append(
        (
            "Students",
            f"{start}, {student} was trained twice for {settings.get('epochs', MISSING)} epochs: on labels alone (the "
            f"plain student), and on {taught}{weights} (the distilled student).",
        )
    )
    return steps


def _terms(found: Findings) -> dict[str, float]:
    """Return the weight of each method by which the distilled student learned, as `StudentRecipe.settings` says it."""
    settings, alpha = found.settings, found.settings.get("alpha") or 0.0
    usual = [USUAL["masks" if found.masks else "labels"]] if alpha else []
    named = settings.get("method") or [*usual, *(name for name in methods.names() if settings.get(name))]
    return {name: settings.get(name, alpha) for name in named}


def _table(found: Findings, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of all models; its cells and heads are pairs of a value and a note."""
    masks, models = found.masks, found.models
    caption = (
        f"All models on the {data['test']:,} test images."
        if data.get("test")
        else "All models on the test images."
    )
    if any(len(model["runs"]) > 1 for model in models):
        caption += " The interval of a model trained several times is over its seeds."
    if any(len(model["runs"]) == 1 and interval(model) != MISSING for model in models):
        caption += " The interval of a model trained once is over the draw of the test images."
    heads = [
        ("Model", ""),
        ("Mean IoU" if masks else "Accuracy", "95 % interval"),
        *((name, "") for name in _MASK_SCORES if masks),
        ("NLL", "nats per pixel" if masks else "nats"),
        ("ECE", ""),
        ("Agreement", f"with the {found.teacher}"),
        *(("Parameters", ""), ("Bytes", ""), ("MACs", "per image"), ("Latency", "median (IQR)")),
        ("Throughput", "images per second"),
    ]
    cells = [
        [
            (share(score(model)), interval(model)),
            *((share(model["mean"].get(key)), "") for key in _MASK_SCORES.values() if masks),
            *((cell, "") for cell in [*_scores(model), *costs(model)]),
        ]
        for model in models
    ]
    known = [any(value != MISSING for value, _ in column) for column in zip(*cells, strict=True)]
    return {
        "caption": caption,
        "heads": [heads[0], *(head for head, there in zip(heads[1:], known, strict=True) if there)],
        "rows": [
            {
                "label": model["label"],
                "note": f"mean of {len(model['runs'])} seeds" if len(model["runs"]) > 1 else "",
                "result": model.get("role") == "distilled",
                "cells": [cell for cell, there in zip(row, known, strict=True) if there],
            }
            for model, row in zip(models, cells, strict=True)
        ],
    }


def _recorded(found: Findings, recorded: Findings) -> dict[str, Any]:
    """Return the recorded results beside those of this run."""

    def bracketed(value: str, bounds: str) -> str:
        return f"{value} ({bounds})" if bounds not in ("", MISSING) else value

    def column(of: Findings) -> list[str]:
        gap = of.gap
        return [
            *(bracketed(share(score(model)), interval(model)) for model in (of.plain, of.distilled)),
            bracketed(of.signed_difference, of.interval),
            f"{percent(gap['value'], 0)} ({share_range(gap)})" if of.gap_reported else "not reported",
        ]

    metric = found.metric[0].upper() + found.metric[1:]
    names = [f"{metric}, {role} student" for role in ("plain", "distilled")]
    names += ["Difference, percentage points", "Gap recovered"]
    return {
        "summary": " ".join([recorded.lead_recorded(), *recorded.meaning("recorded ")]),
        "heads": [
            ("Result", ""),
            ("This run", ", ".join(extent(found.settings))),
            ("Recorded", ", ".join(extent(recorded.settings))),
        ],
        "rows": list(zip(names, column(found), column(recorded), strict=True)),
        "settings": _settings(recorded.settings),
    }


def _settings(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(_SETTING_NAMES.get(key, spoken(key)), _setting(value)) for key, value in values.items()]


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
    """Return when, in what time and by which version the results were made."""
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
    if results.get("kdcourse"):
        parts.append(f"by kdcourse {results['kdcourse']}")
    return f"Made {' '.join(parts)}."
