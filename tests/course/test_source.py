from __future__ import annotations

import re
from pathlib import Path

import pytest

from kdcourse.course import Course
from kdcourse.errors import LessonError
from tests.course import tiny


def test_a_lesson_is_read_with_its_exercises(tmp_path: Path) -> None:
    lesson = tiny.lesson(tmp_path)
    assert (lesson.name, lesson.number, lesson.title) == ("00_twice", "00", "Twice")
    assert [cell.kind for cell in lesson.cells] == [
        "markdown", "code", "code", "code", "code", "markdown", "code", "code", "markdown",
    ]  # fmt: skip
    assert [cell.name for cell in lesson.cells if cell.name] == ["facts", "picture"]
    (exercise,) = lesson.exercises
    assert (exercise.id, exercise.place, exercise.check) == ("twice", 7, 8)
    assert (exercise.difficulty, exercise.minutes, exercise.hints, exercise.blanks) == ("easy", 2, 1, 2)
    assert (lesson.exercise_minutes, lesson.most_seconds) == (2, 60)
    assert lesson.cells[0].text.startswith("# Lesson 00: Twice\n")
    assert lesson.objectives == ["double a number, whatever it is", "say what twice is"]


def test_every_solution_becomes_a_blank_by_its_form(tmp_path: Path) -> None:
    (exercise,) = tiny.lesson(tmp_path).exercises
    head = 'def twice(number: float) -> float:\n    """Two times ``number``."""\n'
    assert exercise.given == head + "    total = ...  # your turn\n    del total\n    ...  # your turn"
    assert exercise.solution == head + (
        "    total = number\n    del total\n    total = 2 * number\n    return total"
    )


@pytest.mark.parametrize(
    ("region", "blank"),
    [
        ("answer = 2 * number", "answer = ...  # your turn"),
        ("return 2 * number", "return ...  # your turn"),
        ("return (\n        2\n        * number\n    )", "return ...  # your turn"),
        ("# first think\n    answer = 2", "answer = ...  # your turn"),
        ("one, two = number, 2", "...  # your turn"),
        ("self.answer = 2", "...  # your turn"),
        ("answer: float = 2", "...  # your turn"),
        ("answer += 2", "...  # your turn"),
        ("return", "...  # your turn"),
        ("answer = 2\n    return answer", "...  # your turn"),
        ("for _ in range(2):\n        number += 1", "...  # your turn"),
    ],
)
def test_blanks(region: str, blank: str, tmp_path: Path) -> None:
    text = tiny.changed("    total = 2 * number\n    return total", f"    {region}", tiny.EXERCISES)
    (exercise,) = tiny.lesson(tmp_path, exercises=text).exercises
    assert exercise.given.endswith(f"del total\n    {blank}")
    assert f"    {region}" in exercise.solution


def test_a_worked_example_is_shown_as_it_is_and_needs_no_hint(tmp_path: Path) -> None:
    code = re.sub(r" *### (BEGIN|END) SOLUTION\n", "", tiny.EXERCISES)
    text = re.sub(r"# <details>.*?# </details>\n", "", tiny.SOURCE, flags=re.DOTALL)
    (exercise,) = tiny.lesson(tmp_path, text, code).exercises
    assert exercise.given == exercise.solution
    assert exercise.blanks == exercise.hints == 0


def test_reading_minutes_count_the_words_of_the_prose_alone(tmp_path: Path) -> None:
    def minutes(words: int) -> int:
        text = tiny.changed("Twice is twice.", "word " * words)
        return tiny.lesson(tmp_path, text).reading_minutes

    assert minutes(1) == 1
    assert minutes(1000) == minutes(600) + 2


BEGIN, END = "    ### BEGIN SOLUTION\n", "    ### END SOLUTION\n"
MALFORMED = {
    "an unknown exercise": ("import twice", "import thrice", r"defines no function 'thrice'; it has twice"),
    "two exercises in a cell": ("import twice", "import twice, thrice", r"cell 7 .*one line and nothing else"),
    "an exercise of another lesson": ("course.twice.", "course.thrice.", r"cell 7 .*one line and nothing else"),
    "a link to no lesson": ("Twice is", "{{lesson thrice}}", r"cell 9 .*the lesson 'thrice'; there are twice"),
    "a check of another": ('check("twice"', 'check("thrice"', r'cell 7 .*check\("twice"'),
    "no check": ('check("twice", twice)', "print(twice)", r"cell 7 .*without its check"),
    "no hint": ("<summary>Hint 1</summary>", "<summary>More</summary>", r"cell 6 .*has no hint"),
    "no minutes": ("(easy, 2 minutes)", "(easy)", r"cell 6 .*how hard.*how long"),
    "no difficulty": ("(easy, 2 minutes)", "(2 minutes)", r"cell 6 .*how hard"),
    "a solution elsewhere": ("7 * 6", "### BEGIN SOLUTION\n7 * 6\n### END SOLUTION", r"cell 4 .*in exercises.py"),
    "a number": ("# # Twice", "# # Lesson 07: Twice", r"cell 1 .*the number is added"),
    "no objectives": ("## Objectives", "## Aims", r"no section '## Objectives'"),
    "no recap": ("## Recap", "## End", r"no section '## Recap'"),
    "no references": ("## References", "## Sources", r"no section '## References'"),
    "no builds on": ("**Builds on:**", "Builds on", r"what the lesson builds on"),
    "no glossary": ("](glossary.md)", "](words.md)", r"link to the glossary"),
    "no link to a source": ("https://example.org/title", "", r"no year and link"),
    "no time": ("{{machine_seconds}}", "short", r"\{\{machine_seconds\}\} must stand exactly once; found 0"),
    "a placeholder of one's own": ("Twice is", "{{accuracy}} is", r"cell 9 .*\{\{accuracy\}\}"),
    "a picture without alt": ("Twice is", "![](twice.png)", r"cell 9 .*without alt text"),
    "an img without alt": ("Twice is", "<img src='twice.png' alt=''>", r"cell 9 .*without alt text"),
    "details not closed": ("Twice is", "<details>", r"cell 9 .*unequally"),
    "not Python": ("7 * 6", "7 *", r"cell 4 .*is not Python \(line 1"),
    "a semicolon": ("7 * 6", "7 * 6;", r"cell 4 .*hides nothing"),
    "a widget before the end": ("7 * 6", "widgets.quiz()\n7 * 6", r"cell 4 .*nobody sees \(line 1"),
    "unknown metadata": ('name="facts"', 'tags=["x"]', r"cell 3: found metadata \['tags'\]"),
    "a bad name": ('name="facts"', 'name="The Facts"', r"cell 3 .*'The Facts'"),
    "a name twice": ('name="picture"', 'name="facts"', r"'facts' is there twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_lesson_is_refused_with_file_and_cell(case: str, tmp_path: Path) -> None:
    old, new, message = MALFORMED[case]
    with pytest.raises(LessonError, match=rf"(?s)^twice/(lesson|exercises)\.py.*{message}"):
        tiny.lesson(tmp_path, tiny.changed(old, new))


MALFORMED_SOLUTIONS = {
    "a solution not closed": ("    return total\n" + END, "    return total\n", r"it .*without '### END"),
    "a solution not opened": (BEGIN + "    total = 2", "    total = 2", r"it .*without '### BEGIN"),
    "a solution in a solution": ("    return total", BEGIN + "    return total", r"it .*twice before"),
    "a marker beside code": ("    del total\n", "    del total  ### BEGIN SOLUTION\n", r"it .*lines of their own"),
    "an empty solution": ("    total = number\n", "", r"it .*nothing between"),
    "half a statement": ("    return total\n", "    return (\n", r"is not Python \(line 11\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED_SOLUTIONS)
def test_a_malformed_solution_is_refused_with_its_exercise(case: str, tmp_path: Path) -> None:
    old, new, message = MALFORMED_SOLUTIONS[case]
    with pytest.raises(LessonError, match=rf"(?s)^twice/exercises\.py.*{message}"):
        tiny.lesson(tmp_path, exercises=tiny.changed(old, new, tiny.EXERCISES))


def test_a_solution_that_leaves_no_python_behind_is_refused(tmp_path: Path) -> None:
    text = tiny.changed("    del total\n", "    if total:\n", tiny.EXERCISES)
    text = text.replace(
        BEGIN + "    total = 2 * number", "        ### BEGIN SOLUTION\n        total = 2 * number"
    )
    text = text.replace("    return total\n" + END, END + "    return total\n")
    tiny.lesson(tmp_path, exercises=text)  # indented like its code: fine
    text = text.replace(
        "        ### BEGIN SOLUTION\n        total = 2 * number\n", "        total = 2\n" + BEGIN
    )
    with pytest.raises(LessonError, match=r"exercises\.py, twice: .*nothing between"):
        tiny.lesson(tmp_path, exercises=text)


def test_links_follow_the_order_of_the_lessons(tmp_path: Path) -> None:
    text = tiny.changed("Twice is twice.", "See {{lesson twice}}. {{Lesson thrice}} is next.")
    tiny.write(tmp_path, text)
    tiny.write(tmp_path, topic="thrice")
    for order, said in (
        (("twice", "thrice"), "See [lesson 00](00_twice.ipynb). [Lesson 01](01_thrice.ipynb) is next."),
        (("thrice", "a", "twice"), "See [lesson 02](02_twice.ipynb). [Lesson 00](00_thrice.ipynb) is next."),
    ):
        assert said in Course(tmp_path, order).lesson("twice").cells[-1].text


def test_lessons_are_found_by_number_topic_or_name(tmp_path: Path) -> None:
    course = Course(tmp_path, ("thrice", "twice"))
    for word in ("1", "01", "twice", "01_twice"):
        assert course.topics([word]) == ["twice"]
    assert course.topics(["twice", "0", "01"]) == ["thrice", "twice"]
    with pytest.raises(LessonError, match="no lesson '9'; there are 00_thrice, 01_twice"):
        course.topics(["9"])


def test_a_lesson_may_take_longer_if_it_says_so(tmp_path: Path) -> None:
    header = "# ---\n# jupyter:\n#   kdcourse:\n#     most_seconds: 240\n# ---\n\n"
    assert tiny.lesson(tmp_path, header + tiny.SOURCE).most_seconds == 240


def test_files_that_are_no_lessons(tmp_path: Path) -> None:
    with pytest.raises(LessonError, match=r"There is no lesson .*write it"):
        Course(tmp_path, ("twice",)).lesson("twice")
    with pytest.raises(LessonError, match=r"'Twice' is not a topic.*lower-case words"):
        tiny.write(tmp_path, topic="Twice").lesson("Twice")
    with pytest.raises(LessonError, match="has 1 cell"):
        tiny.lesson(tmp_path, "print(1)\n")
    course = tiny.write(tmp_path)
    (tmp_path / "twice" / "exercises.py").unlink()
    with pytest.raises(LessonError, match=r"no twice/exercises\.py, which is to define 'twice'"):
        course.lesson("twice")
    with pytest.raises(LessonError, match=r"twice/exercises\.py is not Python \(line 1\)"):
        tiny.lesson(tmp_path, exercises="def twice(:\n")
