from __future__ import annotations

import re
from pathlib import Path

import pytest

from kdcourse.errors import LessonError
from kdcourse.lessons import source
from tests.lessons import tiny


def test_a_lesson_is_read_with_its_exercises(tmp_path: Path) -> None:
    lesson = source.read(tiny.write(tmp_path), tiny.KNOWN)
    assert (lesson.name, lesson.number, lesson.title) == ("07_twice", "07", "Twice")
    assert [cell.kind for cell in lesson.cells] == [
        "markdown", "code", "code", "code", "code", "markdown", "code", "code", "markdown",
    ]  # fmt: skip
    assert [cell.name for cell in lesson.cells if cell.name] == ["facts", "picture"]
    (exercise,) = lesson.exercises
    assert (exercise.id, exercise.place, exercise.check) == ("twice", 7, 8)
    assert (exercise.difficulty, exercise.minutes, exercise.hints, exercise.blanks) == ("easy", 2, 1, 2)
    assert lesson.exercise_minutes == 2


def test_every_solution_becomes_a_blank_by_its_form(tmp_path: Path) -> None:
    (exercise,) = source.read(tiny.write(tmp_path), tiny.KNOWN).exercises
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
    text = tiny.changed("    total = 2 * number\n    return total", f"    {region}")
    (exercise,) = source.read(tiny.write(tmp_path, text), tiny.KNOWN).exercises
    assert exercise.given.endswith(f"del total\n    {blank}")
    assert f"    {region}" in exercise.solution


def test_a_region_of_a_whole_cell_is_a_value_to_find(tmp_path: Path) -> None:
    start, rest = tiny.SOURCE.split("def twice", 1)
    rest = rest.split("\n\n\n# %%\n", 1)[1]
    text = start + "### BEGIN SOLUTION\nanswer = 42\n### END SOLUTION\n\n\n# %%\n" + rest
    (exercise,) = source.read(tiny.write(tmp_path, text), tiny.KNOWN).exercises
    assert (exercise.given, exercise.solution) == ("answer = ...  # your turn", "answer = 42")


def test_a_worked_example_is_shown_as_it_is_and_needs_no_hint(tmp_path: Path) -> None:
    text = re.sub(r" *### (BEGIN|END) SOLUTION\n", "", tiny.SOURCE)
    text = re.sub(r"# <details>.*?# </details>\n", "", text, flags=re.DOTALL)
    (exercise,) = source.read(tiny.write(tmp_path, text), tiny.KNOWN).exercises
    assert exercise.given == exercise.solution
    assert exercise.blanks == exercise.hints == 0


def test_reading_minutes_count_the_words_of_the_prose_alone(tmp_path: Path) -> None:
    def minutes(words: int) -> int:
        text = tiny.changed("Twice is twice.", "word " * words)
        return source.read(tiny.write(tmp_path, text), tiny.KNOWN).reading_minutes

    assert minutes(1) == 1
    assert minutes(1000) == minutes(600) + 2


BEGIN, END = "    ### BEGIN SOLUTION\n", "    ### END SOLUTION\n"
MALFORMED = {
    "an unknown exercise": ('exercise="twice"', 'exercise="thrice"', r"cell 7 .*'thrice'.* has twice"),
    "a check of another": ('check("twice"', 'check("thrice"', r'cell 7 .*check\("twice"'),
    "no check": ('check("twice", twice)', "print(twice)", r"cell 7 .*without its check"),
    "no hint": ("<summary>Hint 1</summary>", "<summary>More</summary>", r"cell 6 .*has no hint"),
    "no minutes": ("(easy, 2 minutes)", "(easy)", r"cell 6 .*how hard.*how long"),
    "no difficulty": ("(easy, 2 minutes)", "(2 minutes)", r"cell 6 .*how hard"),
    "a solution not closed": ("    return total\n" + END, "    return total\n", r"cell 7 .*without '### END"),
    "a solution not opened": (BEGIN + "    total = 2", "    total = 2", r"cell 7 .*without '### BEGIN"),
    "a solution in a solution": ("    return total", BEGIN + "    return total", r"cell 7 .*twice before"),
    "a marker beside code": ("    del total\n", "    del total  ### BEGIN SOLUTION\n", r"cell 7 .*lines of their own"),
    "an empty solution": ("    total = number\n", "", r"cell 7 .*nothing between"),
    "half a statement": ("    return total\n", "    return (\n", r"cell 7 .*is not Python"),
    "a solution elsewhere": ("7 * 6", "### BEGIN SOLUTION\n7 * 6\n### END SOLUTION", r"cell 4 .*no exercise"),
    "another number": ("# # Lesson 07", "# # Lesson 08", r"cell 1 .*'# Lesson 07: '"),
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
    "unknown metadata": ('name="facts"', 'tags=["x"]', r"cell 3: found metadata \['tags'\]"),
    "a bad name": ('name="facts"', 'name="The Facts"', r"cell 3 .*'The Facts'"),
    "a name twice": ('name="picture"', 'name="facts"', r"'facts' is there twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_lesson_is_refused_with_file_and_cell(case: str, tmp_path: Path) -> None:
    old, new, message = MALFORMED[case]
    path = tiny.write(tmp_path, tiny.changed(old, new))
    with pytest.raises(LessonError, match=rf"(?s)^07_twice\.py.*{message}"):
        source.read(path, tiny.KNOWN)


def test_a_solution_that_leaves_no_python_behind_is_refused(tmp_path: Path) -> None:
    text = tiny.changed("    del total\n", "    if total:\n")
    text = text.replace(
        BEGIN + "    total = 2 * number", "        ### BEGIN SOLUTION\n        total = 2 * number"
    )
    text = text.replace("    return total\n" + END, END + "    return total\n")
    source.read(tiny.write(tmp_path, text), tiny.KNOWN)  # indented like its code: fine
    text = text.replace(
        "        ### BEGIN SOLUTION\n        total = 2 * number\n", "        total = 2\n" + BEGIN
    )
    with pytest.raises(LessonError, match=r"cell 7 .*nothing between"):
        source.read(tiny.write(tmp_path, text), tiny.KNOWN)


def test_files_that_are_no_lessons(tmp_path: Path) -> None:
    with pytest.raises(LessonError, match="no folder"):
        source.sources(tmp_path / "nowhere")
    with pytest.raises(LessonError, match="There is no lesson"):
        source.read(tmp_path / "07_twice.py", tiny.KNOWN)
    with pytest.raises(LessonError, match="NN_words"):
        source.read(tiny.write(tmp_path, name="twice"), tiny.KNOWN)
    with pytest.raises(LessonError, match="has 1 cell"):
        source.read(tiny.write(tmp_path, "print(1)\n"), tiny.KNOWN)
    tiny.write(tmp_path, name="08_more")
    (tmp_path / "notes.txt").write_text("")
    tiny.write(tmp_path)
    assert [path.stem for path in source.sources(tmp_path)] == ["07_twice", "08_more"]
    tiny.write(tmp_path, name="08_again")
    with pytest.raises(LessonError, match=r"08_again\.py and 08_more\.py have one number"):
        source.sources(tmp_path)
