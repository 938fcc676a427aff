"""A quiz whose every option explains itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets

from kdcourse.errors import ArgumentError
from kdcourse.widgets.base import CourseWidget, choice_style, radio_buttons

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Option:
    """One answer to choose: whether it is ``right``, and ``why`` or why not, shown when it is chosen."""

    text: str
    right: bool
    why: str


@dataclass(frozen=True)
class Question:
    """A question with at least two options, of which at least one is right and one is not."""

    text: str
    options: Sequence[Option]


class Quiz(CourseWidget):
    """See `quiz`. ``choices`` are the questions' radio buttons, ``reasons`` the explanations below them."""

    def __init__(self, name: str, questions: Sequence[Question]) -> None:
        _check(name, questions)
        self._name, self._questions = name, tuple(questions)
        self.choices = [
            radio_buttons([(option.text, number) for number, option in enumerate(question.options)])
            for question in questions
        ]
        self.reasons = [ipywidgets.HTML() for _ in questions]
        parts: list[ipywidgets.Widget] = [choice_style()]
        for number, question in enumerate(questions):
            parts.append(
                ipywidgets.HTML(
                    f'<div role="heading" aria-level="5">{number + 1}. {escape(question.text)}</div>'
                )
            )
            parts += [self.choices[number], self.reasons[number]]
        super().__init__(
            f"Quiz {name}",
            f"Quiz {name}: an interactive widget with {len(questions)} question{'s' * (len(questions) != 1)}.",
            parts,
        )
        # The picture holds the same words; beside the questions themselves it would say everything twice.
        self.picture.layout.display = self.words.layout.display = "none"
        for number, choice in enumerate(self.choices):
            choice.observe(lambda change, number=number: self._answered(number), "value")

    @property
    def right(self) -> int:
        """Questions whose chosen option is right at the moment."""
        return sum(
            choice.value is not None and question.options[choice.value].right
            for choice, question in zip(self.choices, self._questions, strict=True)
        )

    def figure(self) -> Figure:
        from kdcourse import figures

        lines = []
        for number, question in enumerate(self._questions, 1):
            lines += [f"{number}. {question.text}", *(f"     ○ {option.text}" for option in question.options)]
        return figures.card(f"Quiz {self._name}", lines)

    def _answered(self, number: int) -> None:
        chosen: Any = self.choices[number].value
        if chosen is None:
            return
        option = self._questions[number].options[chosen]
        verdict = "✓ Right." if option.right else "✗ Not this one."
        self.reasons[
            number
        ].value = f'<div role="status" aria-live="polite"><b>{verdict}</b> {escape(option.why)}</div>'
        answered = sum(choice.value is not None for choice in self.choices)
        self.say(f"{answered} of {len(self.choices)} answered, {self.right} right.")


def quiz(name: str, questions: Sequence[Question]) -> Quiz:
    """A few questions; each option says why it is right or wrong as soon as it is chosen.

    Args:
        name: of the quiz, such as the lesson's number.
        questions: at least one.

    Raises:
        ArgumentError: no question, a question without a right and a wrong option, an option without words.
    """
    return Quiz(name, questions)


def _check(name: str, questions: Sequence[Question]) -> None:
    if not name.strip() or not questions:
        raise ArgumentError(
            f"A quiz needs a name and at least one question; found {name!r} and {len(questions)}."
        )
    for question in questions:
        if len({option.right for option in question.options}) != 2:
            raise ArgumentError(
                f"The question {question.text!r} needs at least one right and one wrong option; found "
                f"{[option.right for option in question.options]}."
            )
        texts = [option.text for option in question.options]
        if len({*texts}) < len(texts) or not all(o.text.strip() and o.why.strip() for o in question.options):
            raise ArgumentError(
                f"Every option of {question.text!r} needs words of its own and says why it is right or wrong; "
                f"found {texts}."
            )
