"""Say in words and formatted numbers what results show; a sentence that the results don't support is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kdcourse.errors import ArgumentError
from kdcourse.figures.style import byte_size, count_word, listed, percent, significant
from kdcourse.runs.study.summary import worth

MISSING = "–"
VERDICTS = {
    "helped": "Distillation helped",
    "hurt": "Distillation made the student worse",
    "unclear": "Distillation made no difference that these seeds can show",
    "one seed": "One seed: no verdict on distillation",
}


def checked(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of ``results`` that JSON can hold: tuples become lists, NaN and infinity ``None``.

    Raises:
        ArgumentError: a part or a student is missing, or a value isn't plain data.
    """
    plain: dict[str, Any] = _plain(results, "results")
    for part in ("made", "command", "settings", "data", "models", "comparison"):
        if part not in plain:
            raise ArgumentError(
                f"A report needs results[{part!r}]; found only {', '.join(plain) or 'nothing'}. "
                "Pass what kdcourse run wrote to results.json."
            )
    for role in ("plain", "distilled"):
        if all(model.get("role") != role for model in plain["models"].values()):
            raise ArgumentError(
                f"A report compares a plain with a distilled student; found no model of role {role!r} among "
                f"{', '.join(plain['models']) or 'no models'}. Give results['models'] one of each."
            )
    return plain


def _plain(value: Any, where: str) -> Any:
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


class Findings:
    """Describe what the results of a run, or recorded ones, show.

    Args:
        results: "models" and "comparison" at least, as `checked` returns them.
        teacher: what the student learned from: "ensemble" or "teacher"; by default as the models' roles say.
    """

    def __init__(self, results: Mapping[str, Any], teacher: str = "") -> None:
        self.models: list[dict[str, Any]] = [
            {**model, "label": str(model.get("label") or name.replace("_", " "))}
            for name, model in results["models"].items()
        ]
        self.masks = any("iou" in model["mean"] for model in self.models)
        self.metric = "mean IoU" if self.masks else "accuracy"
        self.label = "mask" if self.masks else "label"  # what a person gives an image
        self.plain, self.distilled = self.of_role("plain")[0], self.of_role("distilled")[0]
        self.teacher = teacher or ("ensemble" if self.of_role("ensemble") else "teacher")
        self.settings: dict[str, Any] = results.get("settings") or {}
        # How many images had a label, and how many only the teachers' answers; empty where all had both.
        self.few: dict[str, int] = results.get("labels") or {}
        self._comparison: dict[str, Any] = results["comparison"]
        found = self._comparison.get("difference") or {}
        self.seeds, self.difference, self.verdict = 1, score(self.distilled) - score(self.plain), "one seed"
        self.interval = ""  # of the difference, in percentage points; empty for one seed
        if found.get("low") is not None and found.get("high") is not None:
            self.seeds, self.difference = found["n"], float(found["mean"])
            self.verdict = "helped" if found["low"] > 0 else "hurt" if found["high"] < 0 else "unclear"
            self.interval = _range(found)

    def of_role(self, role: str) -> list[dict[str, Any]]:
        """Return the models of a role: "teacher", "ensemble", "plain" or "distilled"."""
        return [model for model in self.models if model.get("role") == role]

    @property
    def gap(self) -> dict[str, Any]:
        """Return the gap recovered, or an empty dict where it was not computed."""
        return self._comparison.get("gap_recovered") or {}

    @property
    def gap_reported(self) -> bool:
        """Tell whether the gap recovered has a value that may be reported."""
        return bool(self.gap.get("reported")) and self.gap.get("value") is not None

    @property
    def signed_difference(self) -> str:
        """Return distilled minus plain, in percentage points with a sign."""
        return f"{100 * self.difference:+.2f}"

    @property
    def smaller(self) -> float | None:
        """Return how many times fewer parameters than its teacher the student has, if both are known."""
        return (self._comparison.get("times_smaller") or {}).get("parameters")

    @property
    def faster(self) -> float | None:
        """Return how many times less time per image than its teacher the student takes, if both were timed."""
        return (self._comparison.get("times_faster") or {}).get("latency")

    def lead(self, where: str = "On the test images") -> str:
        """Return the outcome in one or two sentences."""
        if self.few:
            taught = f"the student that learned from the {self.teacher}'s answers to {self.few['images']:,} images, "
            taught, alone = taught + f"without one {self.label}, ", f"on {self.few['few']:,} {self.label}s"
        else:
            taught, alone = "the distilled student ", f"on {self.label}s alone"
        start = (
            f"{where}, {taught}reaches {'a' if self.masks else 'an'} {self.metric} of "
            f"{share(score(self.distilled))}, the same student trained {alone} {share(score(self.plain))}"
        )
        seeds = f"{count_word(self.seeds)} paired seeds"
        if self.verdict == "one seed":
            return (
                f"{start}: {self.signed_difference} percentage points. One pair of runs can't tell an effect from "
                "chance; run several seeds for a verdict."
            )
        if self.verdict == "unclear":
            return (
                f"{start}: a difference of {_points(self.difference)} percentage points, whose 95 % interval "
                f"{self.interval} over {seeds} includes 0. It may be due to chance."
            )
        more, of = ("more", "") if self.verdict == "helped" else ("fewer", " of the difference")
        return (
            f"{start}: {_points(abs(self.difference))} percentage points {more} (95 % interval{of} {self.interval}, "
            f"{seeds})."
        )

    def against_labels(self) -> str:
        """Return how answers to images compare with the true labels of the same images; empty if not measured."""
        if not self.few or not (labelled := self.of_role("labelled")):
            return ""
        start = f"On the true {self.label}s of the same {self.few['images']:,} images, the student reaches "
        start += share(score(labelled[0]))
        found = self._comparison.get("against_labels")
        if not found:
            return f"{start}."
        points, within = f"{100 * found['mean']:+.2f} points", f"95 % interval {_range(found)}"
        if found["low"] > 0:
            return f"{start}: an answer teaches more than a {self.label} ({points}, {within})."
        if found["high"] < 0:
            return f"{start}: a {self.label} teaches more than an answer ({points} for answers, {within})."
        return f"{start}. These seeds show no difference ({points}, {within})."

    def labels_saved(self) -> tuple[str, str] | None:
        """Return how many true labels or masks lead to the distilled student's score, and a note, if measured.

        It is interpolated between the students of few and of all labels, over the logarithm of their number.
        """
        if not self.few or not (labelled := self.of_role("labelled")):
            return None
        curve = [
            {"images": self.few["few"], "accuracy": score(self.plain)},
            {"images": self.few["images"], "accuracy": score(labelled[0])},
        ]
        found = worth(score(self.distilled), curve)
        note = f"{curve[1]['images']:,} true {self.label}s reach {share(curve[1]['accuracy'])}"
        if "more_than" in found:
            return f"over {found['more_than']:,}", note
        return (
            f"about {float(significant(found['worth'], 2).replace(',', '')):,.0f}"
            if "worth" in found
            else "none"
        ), note

    def lead_recorded(self) -> str:
        """Return the outcome of recorded results in one or two sentences."""
        how = ", ".join(extent(self.settings))
        return self.lead(f"In the recorded long schedule{f' ({how})' if how else ''}")

    def times(self) -> str:
        """Return how much smaller and faster than its teacher the student is, or the contrary; empty if unknown."""
        smaller, faster = (self._comparison.get(f"times_{word}") or {} for word in ("smaller", "faster"))
        parts = [
            f"{significant(max(value, 1 / value))} times {less if value >= 1 else more} {of}"
            for value, less, more, of in (
                (smaller.get("parameters"), "fewer", "more", "parameters"),
                (smaller.get("bytes"), "fewer", "more", "bytes"),
                (smaller.get("macs"), "fewer", "more", "multiply-accumulates"),
                (faster.get("latency"), "less", "more", "time per image"),
                (faster.get("throughput"), "more", "fewer", "images per second"),
            )
            if value
        ]
        return f"Student compared with the {self.teacher}: {listed(parts)}." if parts else ""

    def meaning(self, kind: str = "") -> list[str]:
        """Return the share of the gap recovered and what it means; ``kind`` is "recorded " for recorded results."""
        if not self.gap:
            return []
        name = f"{kind}gap recovered".capitalize()
        if not self.gap_reported:
            reason = str(self.gap.get("reason") or "the gap is too uncertain").rstrip(".")
            return [f"{name}: not reported, because {reason}."]
        value, low, high = (self.gap[key] for key in ("value", "low", "high"))
        first = f"{name}: {percent(value, 0)} (95 % interval {share_range(self.gap)})."
        width = f"the {_points(self.gap['gap'])} percentage points between the plain student and the {self.teacher}"
        if high < 0:
            return [first, f"Below 0: distillation widened {width}."]
        if low <= 0:
            return [
                first,
                f"The interval includes 0: it isn't shown that distillation closes any of {width}.",
            ]
        if value >= 1:
            return [
                first,
                f"Distillation closed {width}: the student is as good as its {self.teacher} or better.",
            ]
        return [first, f"Distillation closed that share of {width}."]


def flips_in_words(augmentation: Mapping[str, Any] | None, metric: str) -> str:
    """Return how it was chosen whether training images are mirrored; empty where that wasn't tried.

    Args:
        augmentation: what `kdcourse.runs.teachers.choose_flips` found, with the teacher's name and the number of
            validation images.
        metric: name of the metric that was compared.
    """
    if not augmentation or "validation" not in augmentation:
        return ""
    which = "mirrored at random" if augmentation["chosen"] == "flips" else "not mirrored"
    tried = augmentation["validation"]
    return (
        f"The teachers' training images are {which}. This was chosen on the {augmentation['images']:,} validation "
        f"images: {str(augmentation['teacher']).replace('_', ' ')} has a validation {metric} of "
        f"{share(tried['flips'])} with mirroring and {share(tried['no-flips'])} without."
    )


# -- numbers -----------------------------------------------------------------------------------


def score(model: Mapping[str, Any]) -> float:
    """Return the figure that models are compared by: mean IoU or accuracy, NaN if unknown."""
    value = model["mean"].get("iou", model["mean"].get("accuracy"))
    return math.nan if value is None else float(value)


def share(value: float | None) -> str:
    """Return a share 0 to 1 as a percentage."""
    return MISSING if value is None or not math.isfinite(value) else percent(value)


def share_range(bounds: Mapping[str, Any]) -> str:
    """Return the ends of an interval of a share, ``low`` and ``high``: ``16 % to 27 %``."""
    return f"{percent(bounds['low'], 0)} to {percent(bounds['high'], 0)}"


def number(value: float | None, form: str) -> str:
    """Return a number in a format of `str.format`."""
    return MISSING if value is None else form.format(value)


def interval(model: Mapping[str, Any]) -> str:
    """Return the interval of a model's score in percent, without the sign."""
    bounds = next(iter((model.get("interval") or {}).values()), None)
    return f"{_points(bounds[0])} to {_points(bounds[1])}" if bounds and None not in bounds else MISSING


def costs(model: Mapping[str, Any]) -> list[str]:
    """Return a model's parameters, bytes, MACs, latency with its interquartile range, and images per second."""
    cost = model.get("cost") or {}
    latency = MISSING if cost.get("latency_ms") is None else f"{significant(cost['latency_ms'])} ms"
    if latency != MISSING and cost.get("latency_iqr_ms") is not None:
        latency += f" ({significant(cost['latency_iqr_ms'], 2)})"
    return [
        number(cost.get("parameters"), "{:,}"),
        MISSING if cost.get("bytes") is None else byte_size(cost["bytes"]),
        _macs(cost.get("macs")),
        latency,
        number(cost.get("throughput"), "{:,.0f}"),
    ]


def extent(settings: Mapping[str, Any]) -> list[str]:
    """Return epochs and seeds in words, as far as they are known: ``["6 epochs", "3 seeds"]``."""
    counts = {"epoch": settings.get("epochs"), "seed": settings.get("seeds")}
    found = {name: len(count) if isinstance(count, list) else count for name, count in counts.items()}
    return [f"{count} {name}{'s' * (count != 1)}" for name, count in found.items() if count]


def _range(bounds: Mapping[str, Any]) -> str:
    return f"{_points(bounds['low'])} to {_points(bounds['high'])}"


def _points(value: float) -> str:
    return f"{100 * value:.2f}"


def _macs(value: float | None) -> str:
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value is not None and value >= 0.9995 * scale:
            return f"{significant(value / scale)} {unit}"
    return MISSING if value is None else str(value)
