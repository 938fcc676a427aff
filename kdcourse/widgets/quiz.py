"""Ask multiple-choice questions, and explain every option."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets

from kdcourse.errors import ArgumentError
from kdcourse.widgets.base import CourseWidget, radio_buttons
from kdcourse.widgets.storage import Guess, GuessFolder, kept_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Option:
    """Hold one answer: its text, whether it is ``right``, and ``why``, shown when it is chosen."""

    text: str
    right: bool
    why: str


@dataclass(frozen=True)
class Question:
    """Hold a question and its options: at least one right and one wrong."""

    text: str
    options: Sequence[Option]


class Quiz(CourseWidget):
    """Show a quiz; see `quiz`.

    ``choices`` are the questions' radio buttons, whose values are indices into `Question.options`; ``reasons`` are the
    explanations below them.
    """

    def __init__(self, name: str, questions: Sequence[Question], *, folder: Path | str | None = None) -> None:
        _check(name, questions)
        self._name, self._questions = name, tuple(questions)
        self._folder = GuessFolder(kept_folder() / "quizzes" if folder is None else folder)
        before = [self._chosen_before(number) for number in range(len(questions))]
        self.choices = [
            radio_buttons([(question.options[place].text, place) for place in _shown_order(question)], chosen)
            for question, chosen in zip(questions, before, strict=True)
        ]
        self.reasons = [ipywidgets.HTML() for _ in questions]
        parts: list[ipywidgets.Widget] = []
        for number, question in enumerate(questions):
            parts.append(
                ipywidgets.HTML(
                    f'<div role="heading" aria-level="4">{number + 1}. {escape(question.text)}</div>'
                )
            )
            parts += [self.choices[number], self.reasons[number]]
        super().__init__(
            f"Quiz {name}",
            f"Quiz {name}: an interactive widget with {len(questions)} question{'s' * (len(questions) != 1)}.",
            parts,
        )
        # The figure repeats the text of the questions, so it is hidden where the questions themselves are shown.
        self.drawing.layout.display = self.words.layout.display = "none"
        for number, choice in enumerate(self.choices):
            if choice.value is not None:
                self._explain(number)
            choice.observe(lambda change, number=number: self._answered(number), "value")

    @property
    def right(self) -> int:
        """Return the number of questions that are answered correctly."""
        return sum(
            choice.value is not None and question.options[choice.value].right
            for choice, question in zip(self.choices, self._questions, strict=True)
        )

    def state(self) -> dict[str, Any]:
        questions = [
            {
                "text": question.text,
                "options": [asdict(question.options[place]) for place in _shown_order(question)],
            }
            for question in self._questions
        ]
        return {"name": self._name, "questions": questions}

    def figure(self) -> Figure:
        from kdcourse import figures

        lines = []
        for number, question in enumerate(self._questions, 1):
            options = [question.options[place].text for place in _shown_order(question)]
            lines += [f"{number}. {question.text}", *(f"     ○ {text}" for text in options)]
        return figures.card(f"Quiz {self._name}", lines)

    def _answered(self, number: int) -> None:
        chosen = self.choices[number].value
        if chosen is None:
            return
        self._explain(number)
        text = self._questions[number].options[chosen].text
        try:
            self._folder.save(Guess(self._key(number), text))
        except OSError as error:
            self.say_error(error, "Your answer could not be stored on disk.")

    def _explain(self, number: int) -> None:
        option = self._questions[number].options[self.choices[number].value]
        verdict = "✓ Right." if option.right else "✗ Not this one."
        self.reasons[
            number
        ].value = f'<div role="status" aria-live="polite"><b>{verdict}</b> {escape(option.why)}</div>'
        answered = sum(choice.value is not None for choice in self.choices)
        self.say(f"{answered} of {len(self.choices)} answered, {self.right} right.")

    def _key(self, number: int) -> str:
        return f"{self._name}-{number + 1}"

    def _chosen_before(self, number: int) -> int | None:
        """Return the index of the option stored earlier, if it can be read and the question still has it."""
        try:
            before = self._folder.load(self._key(number))
        except ArgumentError:  # also a ValueError, but caused by the caller's argument
            raise
        except (OSError, ValueError):
            return None  # not an error: the learner can answer again with one click
        texts = [option.text for option in self._questions[number].options]
        return texts.index(str(before.guess)) if before is not None and before.guess in texts else None


def quiz(name: str, questions: Sequence[Question], *, folder: Path | str | None = None) -> Quiz:
    """Return a quiz; a chosen option shows at once why it is right or wrong.

    Options are shown in an order that depends on their texts alone, so authors may write the right one first.
    Answers are stored, and shown again after a restart.

    Args:
        name: such as the lesson's number; letters, digits, _ and - only.
        questions: at least one.
        folder: where the answers are stored; by default the folder ``quizzes`` in ``$KDCOURSE_RUNS``, or in ``runs`` of
            the user's data folder.

    Raises:
        ArgumentError: a name that isn't a valid file name, no question, a question without a right and a wrong option,
            an option without a text or a reason, or two options with the same text.
    """
    return Quiz(name, questions, folder=folder)


def _shown_order(question: Question) -> list[int]:
    """Return the indices of ``question.options`` in a shuffled order that is the same on every machine."""

    def digest(place: int) -> str:
        return hashlib.sha256(f"{question.text}\n{question.options[place].text}".encode()).hexdigest()

    return sorted(range(len(question.options)), key=digest)


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
                f"Every option of {question.text!r} needs a text of its own and a reason why it is right or wrong; "
                f"found {texts}."
            )
