"""A class is sorted out of whatever folder it comes in; no file of one student's costs another anything."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdcourse.coursework import intake, notebooks
from kdcourse.coursework.intake import collect, readable, slug
from kdcourse.coursework.records import Assignment, Submission, Task
from kdcourse.errors import DataError

ONE, TWO = "04_soft_targets", "05_distil"
TASKS = (
    Task("halve", "code", ONE, "Halve it", 2),
    Task("why", "written", ONE, "Why halve?", 3),
    Task("twice", "code", TWO, "Double it", 1),
)
BOTH = Assignment("week", "Two lessons", (ONE, TWO), TASKS, seed=1)
SINGLE = Assignment("week", "One lesson", (ONE,), TASKS[:2], seed=1)


def notebook(*answered: str, lesson: str = "", ids: bool = True) -> bytes:
    """One of lesson 04, or with the task twice of lesson 05."""
    cells = []
    for name in ("twice",) if "twice" in answered else ("halve", "why"):
        body = "1" if name in answered else "..."
        source = (
            f"def {name}(x):\n    return {body}" if name != "why" else ("So." if name in answered else "")
        )
        metadata = {"nbgrader": {"grade_id": name}} if ids else {}
        kind = "markdown" if name == "why" else "code"
        cells.append({"cell_type": kind, "source": source, "metadata": metadata})
    metadata = {"kdcourse": {"lesson": lesson}} if lesson else {}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}).encode()


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def zipped(files: dict[str, bytes], when: int = 2026) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (when, 1, 1, 0, 0, 0)), content)
    return made.getvalue()


def by_name(folder: Path, assignment: Assignment = SINGLE) -> dict[str, Submission]:
    found = collect(folder, assignment).submissions
    assert [each.student for each in found] == sorted({each.student for each in found})
    return {each.name: each for each in found}


def graded(submission: Submission, lesson: str = ONE) -> bytes:
    return submission.notebooks[lesson].read()


WORK = notebook("halve", "why")


def test_a_folder_a_student_with_spaces_and_accents(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "Zoë Müller-O'Neill/04_soft_targets.ipynb": WORK,
            "李雷/04_soft_targets (1).ipynb": WORK,
            "s123/deep/er/Copy of 04_soft_targets.ipynb": WORK,
            "grades.csv": b"a,b",
        },
    )
    found = by_name(tmp_path)
    assert set(found) == {"Zoë Müller-O'Neill", "李雷", "s123"}
    assert found["Zoë Müller-O'Neill"].student == "Zoe-Muller-O-Neill"
    assert found["李雷"].student.startswith("student-") and found["s123"].student == "s123"
    for each in found.values():
        assert graded(each) == WORK and each.problems == ()
    assert found["s123"].notebooks[ONE].label == "deep/er/Copy of 04_soft_targets.ipynb"


def test_nbgraders_own_layout(tmp_path: Path) -> None:
    lay(tmp_path, {f"{who}/week/04_soft_targets.ipynb": WORK for who in ("ann", "bob")})
    assert {name: graded(each) for name, each in by_name(tmp_path).items()} == {"ann": WORK, "bob": WORK}


@pytest.mark.parametrize("how", ["folder", "folder in a folder", "zip", "zip in a folder"])
def test_moodles_download(tmp_path: Path, how: str) -> None:
    files = {
        "Zoë Müller_12345_assignsubmission_file_/lesson (1).ipynb": WORK,
        "Zoë Müller_12345_assignsubmission_onlinetext_/onlinetext.html": b"<p>see file</p>",
        "Anna Bee_7_assignsubmission_file_04_soft_targets.ipynb": WORK,
        "Al_Sayed Omar_99_assignsubmission_file/my work.zip": zipped({"a/04.ipynb": WORK}),
    }
    if how == "folder":
        folder = lay(tmp_path, files)
    elif how == "folder in a folder":
        lay(tmp_path / "week 4", files)
        folder = tmp_path
    else:
        lay(tmp_path, {"download.zip": zipped(files)})
        folder = tmp_path / "download.zip" if how == "zip" else tmp_path
    found = by_name(folder)
    assert {name: each.student for name, each in found.items()} == {
        "Zoë Müller": "Zoe-Muller_12345",
        "Anna Bee": "Anna-Bee_7",
        "Al_Sayed Omar": "Al_Sayed-Omar_99",
    }
    assert all(graded(each) == WORK and each.problems == () for each in found.values())


def test_canvas_download(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "mullerzoe_12345_67890_lesson (1).ipynb": WORK,
            "beeanna_LATE_7_67891_04_soft_targets-1.ipynb": WORK,
            "beeanna_LATE_7_67891_notes.pdf": b"%PDF",
            "laste_8_67892_all.zip": zipped({"lesson 4.ipynb": WORK}),
            "essay_9_67893_essay.docx": b"PK",
        },
    )
    found = by_name(tmp_path)
    assert sorted(each.student for each in found.values()) == [
        "beeanna_7",
        "essay_9",
        "laste_8",
        "mullerzoe_12345",
    ]
    assert all(graded(found[name]) == WORK for name in ("mullerzoe", "beeanna", "laste"))
    assert found["mullerzoe"].notebooks[ONE].label == "lesson (1).ipynb"
    assert (
        found["essay"].notebooks == {}
        and "'essay.docx'; a file that ends in .ipynb is needed" in found["essay"].problems[0]
    )


def test_loose_notebooks_named_after_people(tmp_path: Path) -> None:
    lay(
        tmp_path / "hw",
        {"Anna Bee 04_soft_targets.ipynb": WORK, "04-Soft-Targets_omar (2).ipynb": WORK, "Li.ipynb": WORK},
    )
    assert set(by_name(tmp_path / "hw")) == {"Anna Bee", "omar", "Li"}
    lay(tmp_path / "ann", {"04_soft_targets.ipynb": WORK})
    assert set(by_name(tmp_path / "ann")) == {"ann"}


def test_of_several_notebooks_the_fullest_is_taken_then_the_newest(tmp_path: Path) -> None:
    half = notebook("halve")
    other_half = notebook("why")
    lay(
        tmp_path,
        {
            "ann/04_soft_targets.ipynb": WORK,
            "ann/04_soft_targets (1).ipynb": notebook(),
            "bob/work.zip": zipped({"old/04.ipynb": half}, 2025),
            "bob/last.zip": zipped({"04_soft_targets.ipynb": other_half}, 2026),
            "eve/04_soft_targets.ipynb": WORK,
            "eve/04_soft_targets (1).ipynb": WORK,
        },
    )
    found = by_name(tmp_path)
    assert (
        graded(found["ann"]) == WORK and graded(found["bob"]) == other_half and graded(found["eve"]) == WORK
    )
    assert (
        "'04_soft_targets.ipynb' was taken (answers to 2 of 2 tasks), '04_soft_targets (1).ipynb' (0 of 2)"
        in (found["ann"].problems[0])
    )
    assert "'last.zip/04_soft_targets.ipynb' was taken" in found["bob"].problems[0]
    assert found["eve"].problems == ()


def test_the_latest_counts_if_that_is_the_policy(tmp_path: Path) -> None:
    files = {
        "bob/first.zip": zipped({"04_soft_targets.ipynb": WORK}, 2025),
        "bob/last.zip": zipped({"04_soft_targets.ipynb": notebook("halve")}, 2026),
        "eve/04_soft_targets.ipynb": WORK,
        "eve/04_soft_targets (1).ipynb": notebook("halve"),
    }
    lay(tmp_path, files)
    for path in (tmp_path / "eve").iterdir():
        os.utime(path, (1.7e9, 1.7e9))  # as a download may leave them: then the number in the name decides
    latest = replace(SINGLE, attempts="latest")
    found = {one.student: one for one in collect(tmp_path, latest).submissions}
    assert graded(found["bob"]) == graded(found["eve"]) == notebook("halve")
    assert (
        "'last.zip/04_soft_targets.ipynb' was taken (the latest, answers to 1 of 2 tasks)"
        in (found["bob"].problems[0])
    )


def test_all_attempts_are_kept_if_the_best_is_to_count(tmp_path: Path) -> None:
    names = [f"eve/04_soft_targets ({n}).ipynb" for n in range(4)]
    lay(tmp_path, dict(zip(names, [WORK, WORK, notebook("halve"), notebook("why")], strict=True)))
    found = collect(tmp_path, replace(SINGLE, attempts="best"))
    (eve,) = found.submissions
    assert eve.problems == () and graded(eve) == WORK
    assert [handed.read() for handed in eve.others[ONE]] == [notebook("why"), notebook("halve")]
    said = sorted(account.what for account in found.accounts)
    assert said[:3] == [f"graded as {ONE}; the best attempt counts"] * 3 and "was taken" in said[3]


def test_of_several_lessons_each_notebook_goes_where_its_name_or_content_says(tmp_path: Path) -> None:
    second = notebook("twice")
    lay(
        tmp_path,
        {
            "ann/04_soft_targets.ipynb": WORK,
            "ann/lesson05.ipynb": second,
            "bob/a.ipynb": notebook("twice", lesson=TWO, ids=False),
            "bob/b.ipynb": notebook("halve", lesson=ONE, ids=False),
            "eve/first.ipynb": notebook("halve", ids=False),
            "eve/diary.ipynb": json.dumps({"cells": [{"cell_type": "code", "source": "x = 1"}]}).encode(),
            "eve/00_start_here.ipynb": notebook("halve", lesson="00_start_here"),
        },
    )
    found = by_name(tmp_path, BOTH)
    assert (
        graded(found["ann"]) == WORK and graded(found["ann"], TWO) == second and found["ann"].problems == ()
    )
    assert b"halve" in graded(found["bob"]) and b"twice" in graded(found["bob"], TWO)
    assert set(found["eve"].notebooks) == {ONE}
    assert found["eve"].problems == (
        "'00_start_here.ipynb' is not a notebook of this assignment, and was set aside.",
        "'diary.ipynb' is not a notebook of this assignment, and was set aside.",
        "There is no notebook of lesson 05_distil.",
    )


def test_rubbish_beside_the_work_is_passed_over(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "ann/__MACOSX/._04_soft_targets.ipynb": b"\0\5",
            "ann/.ipynb_checkpoints/04_soft_targets-checkpoint.ipynb": notebook(),
            "ann/venv/lib/site-packages/04_soft_targets.ipynb": notebook(),
            "ann/work.zip": zipped(
                {"__MACOSX/._a.ipynb": b"\0", "04_soft_targets.ipynb": WORK, ".DS_Store": b""}
            ),
            ".DS_Store": b"",
            "__MACOSX/ann/x.ipynb": WORK,
        },
    )
    found = by_name(tmp_path)
    assert set(found) == {"ann"} and graded(found["ann"]) == WORK and found["ann"].problems == ()


def test_archives_in_archives_are_opened_once(tmp_path: Path) -> None:
    inner = zipped({"04_soft_targets.ipynb": WORK})
    lay(
        tmp_path,
        {"ann/a.zip": zipped({"b.zip": inner}), "bob/a.zip": zipped({"b.zip": zipped({"c.zip": inner})})},
    )
    found = by_name(tmp_path)
    assert (
        graded(found["ann"]) == WORK
        and found["ann"].notebooks[ONE].label == "a.zip/b.zip/04_soft_targets.ipynb"
    )
    assert found["bob"].notebooks == {}
    assert (
        found["bob"].problems[0]
        == "'a.zip/b.zip/c.zip' is an archive in an archive in an archive, which is not opened."
    )


def test_bad_archives_are_told_and_lead_nowhere(tmp_path: Path) -> None:
    locked = bytearray(zipped({"04_soft_targets.ipynb": WORK}))
    for sign, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        locked[locked.index(sign) + offset] |= 1
    link = zipfile.ZipInfo("04_soft_targets.ipynb")
    link.external_attr = 0o120777 << 16
    linked = io.BytesIO()
    with zipfile.ZipFile(linked, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    lying = bytearray(zipped({"a.ipynb": WORK}))
    place = lying.rindex(b"PK\5\6") + 12
    lying[place : place + 4] = (2_000_000_000).to_bytes(4, "little")
    lay(
        tmp_path / "class",
        {
            "slip/a.zip": zipped({"../../../evil.ipynb": WORK, "..\\..\\evil2.ipynb": WORK}),
            "locked/a.zip": bytes(locked),
            "linked/a.zip": linked.getvalue(),
            "broken/a.zip": b"PK\3\4 and no more",
            "lying/a.zip": bytes(lying),
            "rar/a.rar": b"Rar!",
            "empty/a.zip": zipped({}),
        },
    )
    found = by_name(tmp_path / "class")
    says = {
        "slip": "points outside its archive",
        "locked": "protected by a password",
        "linked": "is a link, which",
        "broken": "can't be opened: File is not a zip file",
        "lying": "far longer than",
        "rar": "a .zip or .ipynb is needed",
        "empty": "no readable file was handed in",
    }
    assert set(found) == set(says)
    for name, words in says.items():
        assert found[name].notebooks == {} and any(words in problem for problem in found[name].problems), name
    assert not list(tmp_path.glob("*evil*"))


def test_an_archive_that_unpacks_to_far_too_much_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_NESTED", 1_000_000)
    bomb = zipped({"b.zip": b"\0" * 5_000_000})
    lay(tmp_path, {"ann/a.zip": bomb, "bob/04.ipynb": WORK})
    found = by_name(tmp_path)
    assert "unpacks to more than 1 MB" in found["ann"].problems[0] and graded(found["bob"]) == WORK
    monkeypatch.setattr(notebooks, "MOST_BYTES", 6_000_000)
    monkeypatch.setattr(notebooks, "_MOST_BRACKETS", 100_000)
    lay(tmp_path, {"eve/a.zip": zipped({"04.ipynb": b"x" * 30_000_000})})
    read = notebooks.read(by_name(tmp_path)["eve"].notebooks[ONE])
    assert read.cells == () and "more than 6 MB" in read.problems[0]


def test_links_are_never_followed_and_pipes_never_read(tmp_path: Path) -> None:
    secret = lay(tmp_path / "elsewhere", {"04_soft_targets.ipynb": WORK})
    folder = lay(tmp_path / "class", {"ann/notes.txt": b"", "bob/04_soft_targets.ipynb": WORK})
    try:
        (folder / "ann/04_soft_targets.ipynb").symlink_to(secret / "04_soft_targets.ipynb")
        (folder / "ann/more").symlink_to(secret)
        (folder / "eve").symlink_to(secret)
        os.mkfifo(folder / "bob/05.ipynb")
    except (OSError, AttributeError):
        pytest.skip("this system has no links or pipes")
    found = by_name(folder)
    assert found["ann"].notebooks == {} and len(found["ann"].problems) == 3
    assert found["eve"].notebooks == {} and "is a link, which is not followed" in found["eve"].problems[0]
    assert graded(found["bob"]) == WORK and "'05.ipynb' is not a regular file" in found["bob"].problems[0]


def test_students_whose_names_come_out_alike_are_kept_apart(tmp_path: Path) -> None:
    lay(tmp_path, {f"{name}/04.ipynb": WORK for name in ("José", "Jose", "jose", "Jo se", "Jo-se", "con")})
    found = by_name(tmp_path)
    ids = [each.student for each in found.values()]
    assert len({name.casefold() for name in ids}) == 6 and found["Jose"].student == "Jose"
    assert found["con"].student == "con_"
    before = found["José"].student
    lay(tmp_path, {"Joše/04.ipynb": WORK, "aaa/04.ipynb": WORK})
    assert by_name(tmp_path)["José"].student == before


def test_names_without_letters_to_print(tmp_path: Path) -> None:
    assert readable("a\udce9\u202eb\n") == "aé b"
    assert readable("Zoe\u0308") == "Zoë" and readable("\x01") == "_"
    for name in ("", "..", "-rf", "Иванов", "💥", "a" * 300, "=cmd|x", "\u202e"):
        assert 0 < len(slug(name)) <= 60 and set(slug(name)) <= set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
        )
        assert slug(name)[0] not in "-."


def test_what_a_zip_calls_its_files_is_read_as_utf_8(tmp_path: Path) -> None:
    files = {"Zoë_5_assignsubmission_file_/04.ipynb": WORK, "Bo_6_assignsubmission_file_/04.ipynb": WORK}
    content = zipped(files)
    unmarked = bytearray(content)
    for sign, offset in ((b"PK\3\4", 7), (b"PK\1\2", 9)):  # the flag that says UTF-8
        place = unmarked.find(sign)
        while place >= 0:
            unmarked[place + offset] &= ~8
            place = unmarked.find(sign, place + 1)
    assert bytes(unmarked) != content
    lay(tmp_path, {"class.zip": bytes(unmarked)})
    assert set(by_name(tmp_path / "class.zip")) == {"Zoë", "Bo"}


def test_a_folder_with_nothing_to_collect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        collect(tmp_path / "nowhere", SINGLE)
    lay(tmp_path / "class", {"readme.txt": b"", ".hidden/04.ipynb": WORK})
    with pytest.raises(DataError, match="holds no submissions"):
        collect(tmp_path / "class", SINGLE)
    lay(tmp_path, {"broken.zip": b"PK"})
    with pytest.raises(DataError, match=r"broken\.zip can't be opened"):
        collect(tmp_path / "broken.zip", SINGLE)


def test_a_failure_of_ours_stays_with_its_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path, {"ann/x.ipynb": WORK, "bob/04_soft_targets.ipynb": WORK})

    def broken(handed: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(notebooks, "read", broken)
    found = by_name(tmp_path)
    assert (
        found["bob"].problems == ()
        and "could not be read (ZeroDivisionError: oh)" in found["ann"].problems[0]
    )


def test_too_many_files_are_left_at_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST_FILES", 5)
    monkeypatch.setattr(intake, "MOST_NOTEBOOKS", 2)
    lay(tmp_path, {f"ann/{n}.ipynb": WORK for n in range(20)})
    lay(
        tmp_path,
        {"bob/a.zip": zipped({f"{n}.ipynb": WORK for n in range(20)}), "eve/" + "d/" * 20 + "a.ipynb": WORK},
    )
    found = by_name(tmp_path)
    assert "more than 5 files" in " ".join(found["ann"].problems) and "the first 2" in " ".join(
        found["ann"].problems
    )
    assert "holds 20 files" in " ".join(found["bob"].problems) and graded(found["ann"]) == WORK
    assert "too many nested folders" in " ".join(found["eve"].problems) or "more than 5 files" in " ".join(
        found["eve"].problems
    )


names = st.sampled_from(
    [
        "ann",
        "04_soft_targets.ipynb",
        "a (1).ipynb",
        "x.zip",
        "Zoë_1_assignsubmission_file_",
        "b_2_3_c.ipynb",
        "..",
        "...",
    ]
) | st.text(st.characters(exclude_characters="/\0\ud800", exclude_categories=("Cs",)), min_size=1, max_size=6)
contents = st.sampled_from(
    [WORK, b"", b"PK\3\4", zipped({"04.ipynb": WORK}), zipped({"../a/b.zip": zipped({"c.ipynb": WORK})})]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.lists(names, min_size=1, max_size=3), contents | st.binary(max_size=20)), max_size=5
    )
)
def test_no_tree_of_files_ever_raises(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[list[str], bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    for parts, content in files:
        parts = [part for part in parts if part not in (".", "..")] or ["a"]
        path = folder.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError:
            continue
    for assignment in (SINGLE, BOTH):
        try:
            found = collect(folder, assignment).submissions
        except DataError:
            continue
        assert len({each.student.casefold() for each in found}) == len(found) > 0
        for each in found:
            each.name.encode()
            for handed in each.notebooks.values():
                notebooks.read(handed)
