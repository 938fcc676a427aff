"""Nobody vanishes: names that look like a platform's are taken for one only where nearly all of them do."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdcourse.coursework.intake import Collected, collect
from kdcourse.coursework.platforms import Sender, senders
from tests.coursework.test_intake import ONE, SINGLE, WORK, lay, notebook, zipped

BLANK = notebook()


def students(found: Collected) -> dict[str, bytes]:
    """Name -> the notebook that is graded."""
    return {each.name: each.notebooks[ONE].read() for each in found.submissions if each.notebooks}


def fates(found: Collected) -> dict[str, tuple[str, str]]:
    return {each.file: (each.student, each.what) for each in found.accounts}


@pytest.mark.parametrize("ending", ["", ".zip"])
def test_dates_in_names_are_no_numbers_of_students(tmp_path: Path, ending: str) -> None:
    for name in ("anna", "ben", "carl"):
        if ending:
            lay(tmp_path, {f"{name}_2026_11_29.zip": zipped({"04.ipynb": WORK})})
        else:
            lay(tmp_path, {f"{name}_2026_11_29/04.ipynb": WORK})
    found = collect(tmp_path, SINGLE)
    assert students(found) == {f"{name}_2026_11_29": WORK for name in ("anna", "ben", "carl")}


def test_a_screenshot_beside_a_notebook_is_no_student(tmp_path: Path) -> None:
    lay(tmp_path, {"anna.ipynb": WORK, "Screenshot_20261129_120000_Chrome.jpg": b"\xff\xd8"})
    found = collect(tmp_path, SINGLE)
    assert students(found) == {"anna": WORK} and len(found.submissions) == 1
    assert fates(found)["Screenshot_20261129_120000_Chrome.jpg"][1].startswith("ignored: it is no notebook")
    assert "Screenshot" in found.notes[0]


@pytest.mark.parametrize(
    "forged",
    [
        "alice_1_2_04.ipynb",
        "alice_1_assignsubmission_file_/04.ipynb",
        "alice/04.ipynb",
        "submission_1/04.ipynb",
    ],
)
def test_an_archive_reaches_nobody_beside_its_sender(tmp_path: Path, forged: str) -> None:
    lay(tmp_path, {"alice/04.ipynb": WORK, "carl/04.ipynb": WORK})
    lay(tmp_path, {"bob.zip": zipped({forged: BLANK, "alice/04.ipynb": BLANK})})
    found = collect(tmp_path, SINGLE)
    assert students(found) == {"alice": WORK, "carl": WORK, "bob": BLANK}
    assert {each[0] for file, each in fates(found).items() if file.startswith("bob.zip/")} == {"bob"}


def test_a_file_in_a_download_reaches_nobody_beside_its_sender(tmp_path: Path) -> None:
    for form in ("x_7_assignsubmission_file_04.ipynb", "x_7_8_04.ipynb"):
        folder = tmp_path / form
        lay(
            folder,
            {f"Ann_7_assignsubmission_file_{form}": WORK, f"Bob_9_assignsubmission_file_{form}": BLANK},
        )
        assert students(collect(folder, SINGLE)) == {"Ann": WORK, "Bob": BLANK}
    folder = lay(tmp_path / "canvas", {"bob_9_10_ann_7_8_04.ipynb": BLANK, "ann_7_8_04.ipynb": WORK})
    assert students(collect(folder, SINGLE)) == {"ann": WORK, "bob": BLANK}


def test_a_download_beside_other_work_is_pointed_out(tmp_path: Path) -> None:
    lay(tmp_path, {"emailed.ipynb": WORK})
    lay(tmp_path, {"all.zip": zipped({f"{n}_{i}_1_04.ipynb": WORK for i, n in enumerate("abc")})})
    found = collect(tmp_path, SINGLE)
    assert set(students(found)) == {"emailed", "all"}
    assert found.notes[0].startswith("all.zip looks like a learning platform's download, but lies beside")


def test_downloads_of_two_sections_are_one_class(tmp_path: Path) -> None:
    for section, names in (("one", ("Ann_1", "Bob_2")), ("two", ("Cid_3", "Bob_4"))):
        lay(
            tmp_path,
            {f"{section}.zip": zipped({f"{n}_assignsubmission_file_/04.ipynb": WORK for n in names})},
        )
    found = collect(tmp_path, SINGLE)
    assert [each.student for each in found.submissions] == ["Ann_1", "Bob_2", "Bob_4", "Cid_3"]
    assert "one.zip was taken for the folder of the whole class, not for a student." in found.notes


def test_one_number_with_two_names_is_two_students_and_is_pointed_out(tmp_path: Path) -> None:
    names = ("Ann_7", "Bob_8", "Cid_9", "Dan_9")
    lay(tmp_path, {f"{name}_assignsubmission_file_/04.ipynb": WORK for name in names})
    found = collect(tmp_path, SINGLE)
    assert set(students(found)) == {"Ann", "Bob", "Cid", "Dan"}
    assert found.notes == ("The number 9 belongs to several names, which were kept apart: 'Cid', 'Dan'.",)


def test_work_in_a_download_that_has_another_name_is_kept(tmp_path: Path) -> None:
    lay(tmp_path, {f"{name}_{i}_99_04.ipynb": WORK for i, name in enumerate("abcdefgh")})
    lay(tmp_path, {"by mail/04.ipynb": WORK})
    found = collect(tmp_path, SINGLE)
    assert len(found.submissions) == 9 and "by mail" in students(found)
    assert found.notes[0].startswith("'by mail' is not named as the learning platform names the others")


def test_entries_that_were_put_together_are_pointed_out(tmp_path: Path) -> None:
    lay(tmp_path, {"ann/04.ipynb": WORK, "ann.zip": zipped({"04.ipynb": BLANK}), "bob/04.ipynb": WORK})
    found = collect(tmp_path, SINGLE)
    assert students(found)["ann"] == WORK
    assert found.notes == ("'ann', 'ann.zip' were taken together, as the work of ann.",)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["beeanna_LATE_7_67_a-1.ipynb", "o_neill_8_68_b.ipynb", "c_9_text.html", "d_10_link.html"],
            [("beeanna", "7"), ("o_neill", "8"), ("c", "9"), ("d", "10")],
        ),
        (["anon_Ab3x_67_a.ipynb", "LATE_anon_9zQ_68_b.ipynb"], [("anon_Ab3x", "Ab3x"), ("anon_9zQ", "9zQ")]),
        (
            [
                "gradebook_C-1_Week_4_jsmith_attempt_2026-11-29-12-00-00_04.ipynb",
                "gradebook_C-1_Week_4_jsmith_attempt_2026-11-29-12-00-00.txt",
                "gradebook_C-1_Week_4_jbee_attempt_2026-11-28-12-00-00_04.ipynb",
            ],
            [("jsmith", ""), ("jsmith", ""), ("jbee", "")],
        ),
    ],
    ids=["canvas", "canvas anonymous", "blackboard"],
)
def test_names_of_platforms(names: list[str], expected: list[tuple[str, str]]) -> None:
    found = senders({name: "work" if ".ipynb" in name else "other" for name in names})
    assert [(found[name].name, found[name].number) for name in names] == expected


def test_one_name_in_a_platforms_form_makes_no_download() -> None:
    names = ["ann.ipynb", "bob.ipynb", "cid.ipynb", "dan_1_2_04.ipynb"]
    assert senders(dict.fromkeys(names, "work")) == {}


def test_gradescope_names_its_students_in_a_list(tmp_path: Path) -> None:
    listed = (
        "submission_11:\n  :submitters:\n  - :name: Zoë Müller\n    :sid: '4711'\n  :created_at: 2026\n"
        "submission_12:\n  :submitters:\n  - :name: Ann Bee\n    :sid: '1'\n  - :name: Bob\n    :sid: '2'\n"
    )
    export = {
        "assignment_9_export/submission_metadata.yml": listed.encode(),
        "assignment_9_export/submission_11/04.ipynb": WORK,
        "assignment_9_export/submission_12/04.ipynb": WORK,
        "assignment_9_export/submission_13/04.ipynb": WORK,
    }
    lay(tmp_path, export)
    lay(tmp_path, {"assignment_9_export/submission_13/submission_metadata.yml": listed.encode()})
    found = collect(tmp_path, SINGLE)
    assert {each.name: each.student for each in found.submissions} == {
        "Zoë Müller": "Zoe-Muller_4711",
        "Ann Bee and Bob": "Ann-Bee-and-Bob_12",
        "submission_13": "submission_13_13",
    }
    assert senders({"submission_1": "folder"}) == {"submission_1": Sender("submission_1", "1")}


def test_the_numbers_of_canvas_are_known_as_such(tmp_path: Path) -> None:
    lay(tmp_path / "c", {"bee_7_8_04.ipynb": WORK, "ann_LATE_9_10_04.ipynb": WORK})
    lay(tmp_path / "m", {"Bee_7_assignsubmission_file_/04.ipynb": WORK})
    assert collect(tmp_path / "c", SINGLE).canvas_ids == {"bee_7": "7", "ann_9": "9"}
    assert collect(tmp_path / "m", SINGLE).canvas_ids == {}


def test_every_file_is_accounted_for(tmp_path: Path) -> None:
    files = {
        "ann/04_soft_targets.ipynb": WORK,
        "ann/04_soft_targets (1).ipynb": BLANK,
        "ann/notes.txt": b"",
        "ann/helpers.py": b"x = 1",
        "ann/.ipynb_checkpoints/04-checkpoint.ipynb": WORK,
        "ann/a.rar": b"",
        "bob/work.zip": zipped(
            {"04.ipynb": WORK, "../evil.ipynb": WORK, "__MACOSX/x": b"", "__MACOSX/y": b""}
        ),
        "carl.pdf": b"%PDF",
        "dan/.ipynb": WORK,
    }
    lay(tmp_path, files)
    found = collect(tmp_path, SINGLE)
    assert {file: (who, what.split(":")[0]) for file, (who, what) in fates(found).items()} == {
        "ann/04_soft_targets.ipynb": ("ann", "graded as 04_soft_targets"),
        "ann/04_soft_targets (1).ipynb": ("ann", "ignored"),
        "ann/notes.txt": ("ann", "ignored"),
        "ann/helpers.py": ("ann", "kept for notebooks that import it"),
        "ann/.ipynb_checkpoints": ("", "ignored"),
        "ann/a.rar": ("ann", "ignored"),
        "bob/work.zip/04.ipynb": ("bob", "graded as 04_soft_targets"),
        "bob/work.zip/evil.ipynb": ("bob", "ignored"),
        "bob/work.zip/__MACOSX": ("", "ignored"),
        "carl.pdf": ("", "ignored"),
        "dan/.ipynb": ("dan", "graded as 04_soft_targets"),
    }
    assert "'carl.pdf'" in found.notes[0]
    assert found.submissions[0].modules["helpers"].read() == b"x = 1"
