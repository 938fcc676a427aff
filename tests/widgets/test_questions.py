"""Quiz and prediction: every option explains itself, every guess is remembered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdcourse import widgets
from kdcourse.errors import ArgumentError
from kdcourse.widgets import Option, Question
from tests.widgets.tiny import bundle_of

RIGHT = Option("a mean of five", True, "Their errors differ & partly cancel.")
WRONG = Option("the <best> one", False, "The best one keeps its own errors.")
OTHER = Option("none", False, "Look at the figure again.")


def test_every_option_explains_itself_when_chosen() -> None:
    quiz = widgets.quiz(
        "03", [Question("Which errs least?", [WRONG, RIGHT]), Question("And now?", [RIGHT, OTHER])]
    )
    assert [choice.value for choice in quiz.choices] == [None, None] and quiz.right == 0
    quiz.choices[0].value = 0
    assert "✗" in quiz.reasons[0].value and "keeps its own errors" in quiz.reasons[0].value
    assert quiz.reasons[1].value == "" and "1 of 2 answered, 0 right" in quiz.status.value
    quiz.choices[0].value = 1
    quiz.choices[1].value = 0
    assert "✓" in quiz.reasons[0].value and "differ &amp; partly" in quiz.reasons[0].value
    assert quiz.right == 2 and "2 of 2 answered, 2 right" in quiz.status.value
    quiz.choices[1].value = 1
    assert quiz.right == 1 and 'aria-live="polite"' in quiz.reasons[1].value


def test_the_picture_of_a_quiz_holds_its_words_but_no_answer() -> None:
    quiz = widgets.quiz("03", [Question("Which errs least?", [WRONG, RIGHT])])
    bundle, metadata = bundle_of(quiz)
    alt = metadata["image/png"]["alt"]
    assert "Which errs least?" in alt and "the <best> one" in alt and "cancel" not in alt
    assert bundle["text/plain"] == "Quiz 03: an interactive widget with 1 question."


def test_answers_are_remembered_and_may_change(tmp_path: Path) -> None:
    def asked(first: Question) -> widgets.Quiz:
        return widgets.quiz("03", [first, Question("And now?", [RIGHT, OTHER])], folder=tmp_path)

    quiz = asked(Question("Which errs least?", [WRONG, RIGHT]))
    quiz.choices[0].value = 0
    quiz.choices[0].value = 1
    again = asked(Question("Which errs least?", [WRONG, RIGHT]))
    assert [choice.value for choice in again.choices] == [1, None]
    assert "✓" in again.reasons[0].value and again.reasons[1].value == ""
    assert "1 of 2 answered, 1 right" in again.status.value
    # The lesson has changed since: an option that is gone isn't chosen, one that moved still is.
    assert asked(Question("Which errs least?", [RIGHT, OTHER])).choices[0].value == 0
    assert asked(Question("Which errs least?", [Option("all", True, "Yes."), OTHER])).choices[0].value is None
    assert bundle_of(again)[0]["image/png"] == bundle_of(widgets.quiz("03", again._questions))[0]["image/png"]


def test_an_answer_that_can_not_be_kept_is_told_and_a_damaged_one_asked_for_again(tmp_path: Path) -> None:
    questions = [Question("Which errs least?", [WRONG, RIGHT])]
    (tmp_path / "03-1.json").write_text("{")
    assert widgets.quiz("03", questions, folder=tmp_path).choices[0].value is None
    quiz = widgets.quiz("03", questions, folder=tmp_path / "03-1.json" / "x")
    quiz.choices[0].value = 1
    assert "✓" in quiz.reasons[0].value and "could not be stored on disk" in quiz.status.value


def test_the_order_of_options_says_nothing_of_the_right_one() -> None:
    quizzes = [
        widgets.quiz("03", [Question(f"Question {number}?", [RIGHT, WRONG, OTHER])]) for number in range(30)
    ]
    first = [quiz.choices[0].options[0] for quiz in quizzes]
    assert {*first} == {(RIGHT.text, 0), (WRONG.text, 1), (OTHER.text, 2)}
    again = widgets.quiz("03", [Question("Question 7?", [OTHER, RIGHT, WRONG])])
    assert [text for text, _ in again.choices[0].options] == [
        text for text, _ in quizzes[7].choices[0].options
    ]
    alt = bundle_of(again)[1]["image/png"]["alt"]
    assert [*sorted((RIGHT.text, WRONG.text, OTHER.text), key=alt.index)] == [
        text for text, _ in again.choices[0].options
    ]


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ([], "at least one question"),
        ([Question("Q", [RIGHT])], "one right and one wrong"),
        ([Question("Q", [WRONG, OTHER])], "one right and one wrong"),
        ([Question("Q", [RIGHT, WRONG, WRONG])], "a text of its own"),
        ([Question("Q", [RIGHT, Option("x", False, " ")])], "a reason why"),
    ],
)
def test_quiz_refuses_questions_that_can_not_be_answered(questions: list[Question], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        widgets.quiz("03", questions)


def test_a_number_is_remembered_and_shown_beside_the_truth() -> None:
    asked = widgets.predict("03-best", "How good is the best?", number=(0, 100, 0.5), unit="%")
    assert asked.answer.value == 50
    asked.answer.value = 87.5
    asked.commit.click()
    assert "87.5 %" in asked.status.value
    again = widgets.predict("03-best", "How good is the best?", number=(0, 100, 0.5), unit="%")
    assert again.answer.value == 87.5 and "so far: 87.5 %" in again.status.value
    shown = widgets.reveal("03-best", 94.25)
    assert json.dumps(bundle_of(shown)[1]["kdcourse"]) == '{"unit": "%", "truth": 94.25}'
    assert shown.lines == [
        "Truth: 94.2 %.",
        "Your prediction: 87.5 %.",
        "Your prediction is 6.75 % too low.",
    ]
    assert widgets.reveal("03-best", 87.6).lines[2] == "You predicted it."
    assert "too high" in widgets.reveal("03-best", 10).lines[2]
    stored = bundle_of(shown)[1]["image/png"]["alt"]  # doesn't tell the result before it is asked for
    assert "Run this cell" in stored and "94" not in stored


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (88, "88 of 100"), (9.0, "9 of 100"), (0, "0 of 100"), (1234, "1,234 of 100"), (100 * 0.57, "57 of 100"),
        (87.96, "88.0 of 100"), (0.256, "0.256 of 100"), (0.5, "0.5 of 100"),
    ],
)  # fmt: skip
def test_whole_numbers_are_shown_plainly(number: float, said: str) -> None:
    widgets.predict("k", "How many?", number=(0, 100, 1), unit="of 100").commit.click()
    assert widgets.reveal("k", number).lines[:2] == [f"Truth: {said}.", "Your prediction: 50 of 100."]


def test_a_choice_is_remembered_and_may_change() -> None:
    asked = widgets.predict("05-who", "Who wins?", choices=["plain", "distilled"])
    asked.commit.click()
    assert "Choose an answer first" in asked.status.value
    assert widgets.reveal("05-who", "distilled").lines == ["Truth: distilled.", "No prediction was made."]
    asked.answer.value = "plain"
    asked.commit.click()
    assert widgets.reveal("05-who", "distilled").lines[1:] == [
        "Your prediction: plain.",
        "The result is another one.",
    ]
    asked.answer.value = "distilled"
    asked.commit.click()
    assert widgets.reveal("05-who", "distilled").lines[2] == "You predicted it."


def test_text_of_predictions_is_the_same_with_and_without_a_guess() -> None:
    def texts() -> tuple[object, object]:
        asked = widgets.predict("k", "What?", number=(0, 1, 0.1))
        return bundle_of(asked)[0]["text/plain"], bundle_of(widgets.reveal("k", 0.3))[0]["text/plain"]

    before = texts()
    widgets.predict("k", "What?", number=(0, 1, 0.1)).commit.click()
    assert texts() == before


def test_a_damaged_guess_is_told_of_and_left_in_place(tmp_path: Path) -> None:
    file = tmp_path / "k.json"
    file.write_text("{")
    asked = widgets.predict("k", "What?", choices=["a", "b"], folder=tmp_path)
    shown = widgets.reveal("k", "a", folder=tmp_path)
    for widget in (asked, shown):
        assert 'role="alert"' in widget.status.value and "k.json" in widget.status.value
    assert shown.lines[1] == "No prediction was made." and file.read_text() == "{"


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    asked = widgets.predict("k", "What?", number=(0, 10, 1), folder=tmp_path / "file" / "x")
    asked.commit.click()
    assert "could not be stored on disk" in asked.status.value


def test_a_guess_of_another_question_does_not_fit_in() -> None:
    widgets.predict("k", "How many?", number=(0, 100, 1)).commit.click()
    assert widgets.predict("k", "How many?", number=(0, 10, 1)).answer.value == 5
    assert widgets.predict("k", "Which?", choices=["a", "b"]).answer.value is None
    assert widgets.reveal("k", "b").lines[2] == "The result is another one."


@pytest.mark.parametrize(
    ("key", "options", "message"),
    [
        ("../k", {"choices": ["a", "b"]}, "names its file"),
        ("k", {}, "either choices"),
        ("k", {"choices": ["a", "b"], "number": (0, 1, 0.1)}, "either choices"),
        ("k", {"choices": ["a"]}, "two different"),
        ("k", {"choices": ["a", "a"]}, "two different"),
        ("k", {"number": (1, 0, 0.1)}, "room for a step"),
        ("k", {"number": (0, 1, 2)}, "room for a step"),
        ("k", {"number": (0, 1, float("nan"))}, "room for a step"),
    ],
)
def test_predict_refuses_what_can_not_be_asked(key: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        widgets.predict(key, "What?", **options)  # type: ignore[arg-type]


def test_reveal_refuses_what_is_no_truth() -> None:
    for truth in (float("nan"), None, [1]):
        with pytest.raises(ArgumentError, match="truth must be"):
            widgets.reveal("k", truth)  # type: ignore[arg-type]
