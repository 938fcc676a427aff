"""Ask for a prediction, store it, and show it later beside the result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets

from kdcourse.errors import ArgumentError
from kdcourse.widgets.base import WIDE, CourseWidget, button, radio_buttons, row, slider_layout
from kdcourse.widgets.storage import Guess, GuessFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Prediction(CourseWidget):
    """Ask for a prediction; see `predict`. Controls: ``answer`` (radio buttons or a slider) and ``commit``."""

    def __init__(
        self,
        key: str,
        question: str,
        *,
        choices: Sequence[str] | None = None,
        number: tuple[float, float, float] | None = None,
        unit: str = "",
        folder: Path | str | None = None,
    ) -> None:
        _check(question, choices, number)
        self._key, self._question, self._unit = key, question, unit
        self._choices, self._number = tuple(choices or ()), number
        self._folder = GuessFolder(folder)
        before, damage = _load(self._folder, key)
        if number is None:
            known = before is not None and before.guess in self._choices
            self.answer = radio_buttons(self._choices, before.guess if known and before is not None else None)
        else:
            low, high, step = number
            digits = max(0, -int(Decimal(str(step)).normalize().as_tuple().exponent))
            known = before is not None and not isinstance(before.guess, str) and low <= before.guess <= high
            self.answer = ipywidgets.FloatSlider(
                value=before.guess if known and before is not None else low + step * round((high - low) / 2 / step),
                min=low, max=high, step=step, description=f"Guess ({unit})" if unit else "Guess",
                readout_format=f".{digits}f", style=WIDE, layout=slider_layout(),
            )  # fmt: skip
        self.commit = button("That is my prediction", "Store this answer until the result is shown")
        super().__init__(
            "Predict before you look",
            f"Prediction {key}: an interactive widget that remembers your guess.",
            [
                ipywidgets.HTML(f"<div>{escape(question)}</div>"),
                self.answer,
                row(self.commit),
            ],
        )
        self.drawing.layout.display = self.words.layout.display = "none"  # the controls say the same
        self.commit.on_click(lambda _: self.store())
        if damage:
            self.say(damage, problem=True)
        elif before is not None:
            self.say(f"Your prediction so far: {_formatted(before.guess, before.unit)}. You may change it.")

    def store(self) -> None:
        """Store the present answer on disk."""
        guess = self.answer.value
        if guess is None:
            self.say("Choose an answer first.", problem=True)
            return
        if self._number is not None:
            guess = float(f"{guess:.10g}")
        try:
            self._folder.save(Guess(self._key, guess, self._unit))
        except OSError as error:
            self.say_error(error, "Your prediction could not be stored on disk.")
            return
        self.say(f"Your prediction: {_formatted(guess, self._unit)}. It is stored until the result is shown.")

    def state(self) -> dict[str, Any]:
        answers = {"number": self._number} if self._number is not None else {"choices": self._choices}
        return {"key": self._key, "question": self._question, "unit": self._unit, **answers}

    def figure(self) -> Figure:
        from kdcourse import figures

        lines = [f"     ○ {choice}" for choice in self._choices]
        if self._number is not None:
            low, high, _ = self._number
            lines = [f"     from {_formatted(low, self._unit)} to {_formatted(high, self._unit)}"]
        return figures.card("Predict before you look", [self._question, *lines])


class Reveal(CourseWidget):
    """Show a prediction beside the result; see `reveal`."""

    def __init__(
        self, key: str, truth: float | str, *, unit: str = "", folder: Path | str | None = None
    ) -> None:
        if not isinstance(truth, str | int | float) or (
            not isinstance(truth, str) and not math.isfinite(truth)
        ):
            raise ArgumentError(f"truth must be a finite number or a choice in words; found {truth!r}.")
        guess, damage = _load(GuessFolder(folder), key)
        unit = unit or (guess.unit if guess is not None else "")
        truth = truth if isinstance(truth, str) else float(truth)
        self.lines = [
            f"Truth: {_formatted(truth, unit)}.",
            "No prediction was made."
            if guess is None
            else f"Your prediction: {_formatted(guess.guess, unit)}.",
        ]
        if guess is not None:
            self.lines.append(_compared(guess.guess, truth, unit))
        super().__init__(
            "Your prediction and the truth",
            f"Truth {key}: an interactive widget that shows your guess beside what was found.",
            [ipywidgets.HTML("".join(f"<div>{escape(line)}</div>" for line in self.lines))],
        )
        self.drawing.layout.display = self.words.layout.display = "none"
        if damage:
            self.say(damage, problem=True)
        self._state = {"key": key, "unit": unit, "truth": truth}

    def state(self) -> dict[str, Any]:
        return self._state

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None, **kwargs: object
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the widget; the truth is in its metadata, which nobody sees, for the website's page."""
        bundle, metadata = super()._repr_mimebundle_(include, exclude, **kwargs)
        return bundle, {**metadata, "kdcourse": {"unit": self._state["unit"], "truth": self._state["truth"]}}

    def figure(self) -> Figure:
        from kdcourse import figures

        # What notebooks store must not tell the result to those who haven't predicted it yet.
        return figures.card("Your prediction and the truth", ["Run this cell to see both."])


def predict(
    key: str,
    question: str,
    *,
    choices: Sequence[str] | None = None,
    number: tuple[float, float, float] | None = None,
    unit: str = "",
    folder: Path | str | None = None,
) -> Prediction:
    """Return a widget that asks for a prediction, a choice or a number, and stores it for `reveal`.

    Args:
        key: name of the prediction; letters, digits, _ and -.
        question: what to predict.
        choices: answers to choose from, at least two; or
        number: (low, high, step) of a slider.
        unit: of that number, such as "%".
        folder: of the stored predictions; by default ``$KDCOURSE_RUNS`` or the user's data folder, and
            ``predictions`` in it.

    Raises:
        ArgumentError: a key that can't name a file, both or neither of choices and number, fewer than two
            different choices, a range without room for a step.
    """
    return Prediction(key, question, choices=choices, number=number, unit=unit, folder=folder)


def reveal(key: str, truth: float | str, *, unit: str = "", folder: Path | str | None = None) -> Reveal:
    """Return a widget that shows the prediction made under ``key`` beside the result.

    Without a prediction it shows the result alone.

    Args:
        key: as in `predict`.
        truth: the result: a number (an integer is shown in full, another with three significant digits) or the right
            choice.
        unit: of the number; the prediction's own if left out.
        folder: as in `predict`.

    Raises:
        ArgumentError: a key that can't name a file, a truth that is neither text nor a finite number.
    """
    return Reveal(key, truth, unit=unit, folder=folder)


def _check(question: str, choices: Sequence[str] | None, number: tuple[float, float, float] | None) -> None:
    if not question.strip() or (choices is None) == (number is None):
        raise ArgumentError(
            "A prediction needs a question and either choices=[...] or number=(low, high, step); found "
            f"{question!r}, choices={choices}, number={number}."
        )
    if choices is not None and (len(choices) < 2 or len({*choices}) < len(choices)):
        raise ArgumentError(f"choices must be at least two different ones; found {list(choices)}.")
    if number is not None:
        fits = len(number) == 3 and all(math.isfinite(part) for part in number)
        if not fits or not 0 < number[2] <= number[1] - number[0]:
            raise ArgumentError(
                f"number must be (low, high, step) with room for a step between; found {number}. "
                "Use something like (0, 100, 1)."
            )


def _load(folder: GuessFolder, key: str) -> tuple[Guess | None, str]:
    """Return the prediction stored under ``key``, and a message where its file can't be read."""
    try:
        return folder.load(key), ""
    except ArgumentError:  # a ValueError too, but about the caller's argument
        raise
    except (OSError, ValueError) as error:
        return (
            None,
            f"The prediction stored as {key}.json can't be read ({error}); the file was left in {folder.path}.",
        )


def _formatted(value: float | str, unit: str) -> str:
    from kdcourse.figures.style import significant

    if isinstance(value, str):
        return value
    value = float(f"{value:.10g}")  # 100 * 0.57 is 56.99999999999999
    short = f"{value:,.10f}".rstrip("0")  # 0.5 rather than 0.500
    number = f"{value:,.0f}" if value.is_integer() else min(significant(value), short, key=len)
    return f"{number} {unit}".strip()


def _compared(guess: float | str, truth: float | str, unit: str) -> str:
    if isinstance(guess, str) or isinstance(truth, str):
        return "You predicted it." if guess == truth else "The result is another one."
    difference = guess - truth
    if abs(difference) <= 0.005 * max(abs(truth), abs(guess)):
        return "You predicted it."
    return (
        f"Your prediction is {_formatted(abs(difference), unit)} too {'high' if difference > 0 else 'low'}."
    )
