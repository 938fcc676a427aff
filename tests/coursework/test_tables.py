from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from kdcourse.coursework import tables
from kdcourse.coursework.tables import GivenMark
from kdcourse.errors import DataError
from tests.coursework import tiny

CLASS = tiny.class_of_three()
EXPORT = """Student,ID,SIS User ID,SIS Login ID,Section,Essay (7),Soft targets (4711),Current Score
    Points Possible,,,,,10,9,(read only)
,,,,,Manual Posting,Manual Posting,
"Maier, Anna",10342,u1,am11,A,9,,90
"Ñandú, José",10077,u2,jn22,A,8,1,80
"Wu",20001,u3,wu,B,7,EX,70
"Lee, Ida",20002,u4,il44,B,6,,60
"Student, Test",20003,,,B,,,
"""
WORKSHEET = """Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,\
Last modified (grade),Feedback comments
Participant 10342,Anna Maier,anna@u.edu,Submitted,,18.00,Yes,-,
Participant 10077,José Ñandú,jose@u.edu,Submitted,,18.00,No,-,
Participant 5,Somebody Else,wu@u.edu,Submitted,,18.00,Yes,-,well done
"""


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_grades_hold_every_task_and_leave_unread_answers_empty() -> None:
    anna, jose, wu = rows(tables.grades_csv(CLASS, tiny.ASSIGNMENT))
    assert (anna["points"], anna["of"], anna["percent"], anna["waiting"]) == ("5", "9", "55.6", "1")
    assert anna["why-soft"] == "" and wu["why-soft"] == "0"
    assert jose["name"] == "José Ñandú" and jose["softened"] == "0"
    assert "ends in the middle" in wu["problems"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝", "  ="])
def test_no_cell_of_a_student_s_begins_a_formula(start: str) -> None:
    evil = start + 'cmd|" /C calc"!A0'
    mark = tiny.unread("why-soft", 4, evil)
    someone = tiny.graded(evil, evil, tiny.right("softened", 3), mark, problems=(evil,))
    for text in (
        tables.grades_csv([someone], tiny.ASSIGNMENT),
        tables.to_mark_csv([someone], tiny.ASSIGNMENT),
        tables.canvas_csv([someone], tiny.ASSIGNMENT)[0],
        tables.moodle_csv([someone], tiny.ASSIGNMENT)[0],
    ):
        cells = [
            cell for row in csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")) for cell in row
        ]
        dangerous = [cell for cell in cells if cell.lstrip(" ")[:1] in ("=", "+", "-", "@", "\t", "\r", "＝")]
        assert not dangerous
        assert f"'{evil}" in cells
        # A spreadsheet that was told another separator takes the same file apart in another way.
        for separator in ";\t|":
            cells = [cell for line in re.split(r"[\r\n]", text) for cell in line.split(separator)]
            assert not [cell for cell in cells if cell.lstrip(' "')[:1] in ("=", "+", "@", "＝")]


@pytest.mark.parametrize("between", [";", "\t", "|", "\n", "\r\n", ";  "])
def test_no_part_of_a_cell_becomes_a_formula_under_another_separator(between: str) -> None:
    evil = f"so{between}=cmd|' /C calc'!A0"
    text = tables.to_mark_csv([tiny.graded("x", evil, tiny.unread("why-soft", 4, evil))], tiny.ASSIGNMENT)
    assert not re.search(r"[;\t|\r\n] *=", text) and f"so{between}'=cmd" in text


def test_a_title_that_is_a_formula_or_ends_in_a_number_in_brackets_misleads_nobody() -> None:
    odd = replace(tiny.ASSIGNMENT, title="=Week (4)")
    header = tables.canvas_csv(CLASS, odd)[0].splitlines()[0]
    assert header.endswith("'=Week [4]")


# -- points that a person gave ------------------------------------------------------------------


def test_what_waits_for_a_reader_is_a_table_that_comes_back_with_points(tmp_path: Path) -> None:
    path = written(tmp_path / "to_mark.csv", tables.to_mark_csv(CLASS, tiny.ASSIGNMENT))
    assert [row["student"] for row in rows(path.read_text("utf-8"))] == ["anna.maier_10342", "jose_10077"]
    assert not tables.filled_in(path) and not tables.filled_in(tmp_path / "absent.csv")
    assert tables.read_marks(path, tiny.ASSIGNMENT) == []
    filled = path.read_text("utf-8").replace("help,,4,,,They", 'help,3.5,4,"Good, but long",,They')
    path.write_text(filled, "utf-8")
    assert tables.filled_in(path)
    given = GivenMark("anna.maier_10342", "why-soft", 3.5, "Good, but long")
    assert tables.read_marks(path, tiny.ASSIGNMENT) == [given]


@pytest.mark.parametrize(
    "content",
    [
        "student,task,points,comment\nwu,why-soft,2.5,d'accord é\n".encode(),
        "\ufeffStudent;Task;Points;Comment\r\nwu;why-soft;2,5;d'accord é\r\n".encode(),
        "student\ttask\tpoints\tcomment\nwu\twhy-soft\t2.5\td'accord é\n".encode("utf-16"),
        "student,task,points,comment\nwu,why-soft,2.5,d'accord é\n".encode("cp1252"),
    ],
    ids=["utf-8", "semicolons", "utf-16", "windows"],
)
def test_marks_are_read_as_spreadsheets_save_them(content: bytes, tmp_path: Path) -> None:
    path = written(tmp_path / "marks.csv", content)
    assert tables.read_marks(path, tiny.ASSIGNMENT) == [GivenMark("wu", "why-soft", 2.5, "d'accord é")]


def test_what_is_in_doubt_comes_back_and_a_minus_sign_withdraws(tmp_path: Path) -> None:
    doubt = replace(tiny.right("softened", 3), points=2.5, doubt="the answer was changed afterwards")
    text = tables.to_mark_csv([tiny.graded("wu", "Wu", doubt, tiny.right("cache_key", 2))], tiny.ASSIGNMENT)
    (row,) = rows(text)
    assert (row["task"], row["points"], row["now"]) == (
        "softened",
        "",
        "2.5: the answer was changed afterwards",
    )
    path = written(tmp_path / "m.csv", "student,task,points\nwu,softened,-\nwu,why-soft,−\n")
    assert [(one.task, one.points) for one in tables.read_marks(path, tiny.ASSIGNMENT)] == [
        ("softened", None),
        ("why-soft", None),
    ]


def test_a_student_whose_id_would_be_a_formula_comes_back_under_the_same_id(tmp_path: Path) -> None:
    someone = tiny.graded("-ann", "Ann", tiny.unread("why-soft", 4))
    text = tables.to_mark_csv([someone], tiny.ASSIGNMENT).replace("help,,4", "help,1,4")
    assert "'-ann" in text
    (given,) = tables.read_marks(written(tmp_path / "m.csv", text), tiny.ASSIGNMENT)
    assert given.student == "-ann"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("wu,why-soft,five", "'five' is not a number"),
        ("wu,why-soft,4.5", "not a number from 0 to 4"),
        ("wu,why-soft,-1", "not a number from 0 to 4"),
        ("wu,why-soft,nan", "not a number from 0 to 4"),
        ("wu,why-soft,--", "or - to withdraw points"),
        ("wu,poetry,1", "no task 'poetry'"),
        (",why-soft,1", "no student"),
        ("wu,why-soft,1\nwu,why-soft,2", "twice"),
    ],
)
def test_wrong_marks_are_refused_as_a_whole_and_their_row_named(row: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path / "m.csv", f"student,task,points\nanna.maier_10342,why-soft,1\n{row}\n")
    with pytest.raises(DataError, match=said) as raised:
        tables.read_marks(path, tiny.ASSIGNMENT)
    assert "row" in str(raised.value) and "no points of the file were used" in str(raised.value)


def test_a_file_that_is_no_table_of_marks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lacks the columns task, points; found student"):
        tables.read_marks(written(tmp_path / "m.csv", "student\nwu\n"), tiny.ASSIGNMENT)
    with pytest.raises(DataError, match="isn't text"):
        tables.read_marks(written(tmp_path / "m.xlsx", b"PK\x03\x04\0\0"), tiny.ASSIGNMENT)
    with pytest.raises(DataError, match="can't be read"):
        tables.read_marks(tmp_path / "none.csv", tiny.ASSIGNMENT)


# -- Canvas -------------------------------------------------------------------------------------


def test_canvas_without_an_export_finds_students_by_login() -> None:
    text, notes = tables.canvas_csv(CLASS, tiny.ASSIGNMENT)
    header, possible, anna, *_ = list(csv.reader(io.StringIO(text)))
    assert header == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Soft targets"]
    assert possible == ["    Points Possible", "", "", "", "", "9"]
    assert anna == ["Anna Maier", "", "", "anna.maier_10342", "", "5"]
    assert not notes


def test_canvas_export_is_filled_in_by_id_login_and_name_and_nothing_else_is_touched(tmp_path: Path) -> None:
    text, notes = tables.canvas_csv(CLASS, tiny.ASSIGNMENT, written(tmp_path / "export.csv", EXPORT))
    found = {row["ID"]: row for row in rows(text)}
    assert list(found["10342"]) == [*EXPORT.split("\n")[0].split(",")[:5], "Soft targets (4711)"]
    assert found["10342"]["Soft targets (4711)"] == "5" and found["10342"]["SIS Login ID"] == "am11"
    assert found["10077"]["Soft targets (4711)"] == "2"  # in place of 1
    assert found["20001"]["Soft targets (4711)"] == "EX"
    assert found["20002"]["Soft targets (4711)"] == ""
    assert found[""]["Student"] == "    Points Possible" and found[""]["Soft targets (4711)"] == "9"
    assert notes == ["Wu (wu) has EX in Canvas, which was kept."]


def test_canvas_finds_people_by_name_in_any_order_with_or_without_accents(tmp_path: Path) -> None:
    export = written(tmp_path / "export.csv", EXPORT)
    class_ = [
        tiny.graded("maieranna", "maieranna", tiny.right("softened", 3)),
        tiny.graded("jose", "Jose Nandu", tiny.right("cache_key", 2)),
    ]
    found = {row["ID"]: row for row in rows(tables.canvas_csv(class_, tiny.ASSIGNMENT, export)[0])}
    assert found["10342"]["Soft targets (4711)"] == "3" and found["10077"]["Soft targets (4711)"] == "2"


def test_whoever_is_not_found_for_certain_is_named_and_not_guessed(tmp_path: Path) -> None:
    twins = EXPORT + '"Lee, Ida",20009,u9,il99,B,6,,60\n'
    export = written(tmp_path / "export.csv", twins)
    class_ = [
        tiny.graded("ida", "Ida Lee", tiny.right("softened", 3)),
        tiny.graded("anna", "Anna Maier", tiny.right("softened", 3)),
        tiny.graded("anna2", "Anna Maier", tiny.right("softened", 3)),
        tiny.graded("zoe", "Zoe", tiny.right("softened", 3)),
    ]
    text, notes = tables.canvas_csv(class_, tiny.ASSIGNMENT, export)
    assert "3" not in [row["Soft targets (4711)"] for row in rows(text)]
    assert len(notes) == 4
    assert any("Ida Lee (ida) matches 2 rows" in note for note in notes)
    assert any("Anna Maier (anna) matches a row of export.csv, as anna2 does" in note for note in notes)
    assert any("Zoe (zoe) is in no row" in note for note in notes)


def test_points_are_scaled_to_the_column_s_own_and_that_is_said(tmp_path: Path) -> None:
    export = written(tmp_path / "e.csv", EXPORT.replace(",10,9,(read only)", ",10,90,(read only)"))
    text, notes = tables.canvas_csv(CLASS, tiny.ASSIGNMENT, export)
    assert next(row for row in rows(text) if row["ID"] == "10342")["Soft targets (4711)"] == "50"
    assert rows(text)[0]["Soft targets (4711)"] == "90"
    assert any("out of 90, the assignment out of 9" in note for note in notes)


def test_a_gradebook_without_the_column_or_with_two_is_told(tmp_path: Path) -> None:
    absent = written(tmp_path / "a.csv", EXPORT.replace("Soft targets (4711)", "Poetry (1)"))
    text, notes = tables.canvas_csv(CLASS, tiny.ASSIGNMENT, absent)
    assert "Soft targets" in text.splitlines()[0] and "new assignment" in notes[0]
    twice = written(tmp_path / "t.csv", EXPORT.replace("Essay (7)", "SOFT  targets (7)"))
    with pytest.raises(DataError, match=r"2 columns that may be"):
        tables.canvas_csv(CLASS, tiny.ASSIGNMENT, twice)
    with pytest.raises(DataError, match="not a gradebook exported by Canvas"):
        tables.canvas_csv(CLASS, tiny.ASSIGNMENT, written(tmp_path / "n.csv", "a,b\n1,2\n"))


def test_who_could_not_be_graded_gets_no_number_anywhere(tmp_path: Path) -> None:
    ours = replace(CLASS[0], marks=(replace(CLASS[0].marks[0], points=None), *CLASS[0].marks[1:]))
    assert tables.failed(ours, tiny.ASSIGNMENT) and not tables.failed(CLASS[0], tiny.ASSIGNMENT)
    assert "anna" not in tables.canvas_csv([ours], tiny.ASSIGNMENT)[0]
    assert "anna" not in tables.moodle_csv([ours], tiny.ASSIGNMENT)[0]
    export = written(tmp_path / "export.csv", EXPORT)
    found = {row["ID"]: row for row in rows(tables.canvas_csv([ours], tiny.ASSIGNMENT, export)[0])}
    assert found["10342"]["Soft targets (4711)"] == ""
    sheet = written(tmp_path / "sheet.csv", WORKSHEET)
    assert rows(tables.moodle_csv([ours], tiny.ASSIGNMENT, sheet)[0])[0]["Grade"] == ""


# -- Moodle -------------------------------------------------------------------------------------


def test_moodle_without_a_worksheet_has_grade_and_feedback() -> None:
    anna, jose, _ = rows(tables.moodle_csv(CLASS, tiny.ASSIGNMENT)[0])
    assert anna["Username"] == "anna.maier_10342" and anna["Assignment: Soft targets (Real)"] == "5"
    assert jose["Assignment: Soft targets (Feedback)"] == (
        "2 of 9 points. Points were lost at: Soften the logits. Not marked yet: 1. See your feedback page for details."
    )


def test_moodle_s_worksheet_is_filled_in_by_the_number_that_its_folders_have(tmp_path: Path) -> None:
    sheet = written(tmp_path / "sheet.csv", WORKSHEET)
    text, notes = tables.moodle_csv(CLASS, tiny.ASSIGNMENT, sheet)
    anna, jose, wu = rows(text)
    assert text.splitlines()[0] == WORKSHEET.splitlines()[0]
    assert anna["Grade"] == "10" and anna["Feedback comments"].startswith("5 of 9 points.")
    assert jose["Grade"] == "" and any("José Ñandú" in note and "be changed" in note for note in notes)
    assert wu["Grade"] == "0" and wu["Feedback comments"] == "well done"  # found by e-mail
    assert anna["Last modified (grade)"] == "-"
    assert sum("out of 18" in note for note in notes) == 1


def test_a_short_number_alone_is_nobody_s(tmp_path: Path) -> None:
    sheet = written(tmp_path / "sheet.csv", WORKSHEET)
    someone = tiny.graded("team_5", "Nobody", tiny.right("softened", 3))
    text, notes = tables.moodle_csv([someone], tiny.ASSIGNMENT, sheet)
    assert all(row["Grade"] == "" for row in rows(text))
    assert notes == ["Nobody (team_5) is in no row of sheet.csv: enter these points by hand."]


def test_another_table_is_no_worksheet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lacks Identifier"):
        tables.moodle_csv(CLASS, tiny.ASSIGNMENT, written(tmp_path / "s.csv", "Name,Grade\nWu,1\n"))


def test_matching_a_large_class_is_quick_enough_to_be_exact() -> None:
    class_ = [
        tiny.graded(f"s{i}_{10_000 + i}", f"Student {i}", tiny.right("softened", 3)) for i in range(400)
    ]
    people = [tables.Person((str(10_000 + i),), (), f"{i}, Student") for i in reversed(range(400))]
    matched, notes = tables.match(class_, people, "f")
    assert not notes and all(graded is class_[399 - place] for place, graded in matched.items())
    assert len(matched) == 400
