from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from kdcourse.errors import DataError
from tools.readme import __main__ as command
from tools.readme import pages
from tools.readme.pages import ROOT

README = ROOT / "README.md"


def test_derived_parts_are_up_to_date_and_stale_ones_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("README.md", "benchmarks/README.md", "docs/results.md", "docs/studies.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    page = tmp_path / "README.md"
    text = stale = page.read_text(encoding="utf-8")
    for part in ("badges", "lead", "lessons"):
        begin = stale.index(f"<!-- {part}: begin -->")
        digit = next(place for place in range(begin, len(stale)) if stale[place].isdigit())
        stale = f"{stale[:digit]}x{stale[digit + 1 :]}"
    page.write_text(stale, encoding="utf-8")
    for module in (pages, command):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    told = CliRunner().invoke(command.app)
    assert told.exit_code == 0, told.output
    lines = dict(line.split(": ") for line in told.output.splitlines())
    assert lines.pop("README.md") == "written"
    assert len(lines) == 3 and set(lines.values()) == {"up to date"}, "run: python -m tools.readme"
    assert page.read_text(encoding="utf-8") == text, "run: python -m tools.readme"


def test_a_page_without_marks_is_refused() -> None:
    assert pages.filled("<!-- a: begin -->old<!-- a: end -->", {"a": "new"}).count("new") == 1
    for text in ("", "<!-- a: begin -->", "<!-- a: end -->"):
        with pytest.raises(DataError, match="no <!-- a: begin --> "):
            pages.filled(text, {"a": "new"})


def test_the_ten_lines_for_a_model_of_ones_own_are_ten_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = README.read_text(encoding="utf-8").split("## Your own images and networks")[1]
    found = re.search(r"```python\n(.*?)```", section, flags=re.DOTALL)
    assert found is not None
    code = found[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    for tone, name in ((40, "dark"), (200, "light")):
        (folder := tmp_path / "my_images" / name).mkdir(parents=True)
        for number in range(20):
            Image.new("RGB", (32, 32), (tone, number, number)).save(folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    # A smaller teacher and less of everything, but enough for it to tell dark from light: else a warning.
    smaller = {
        "torchvision:resnet18": "pocket_17k",
        "epochs=10": "epochs=3",
        "batch_size=128": "batch_size=8",
        "epochs=20": "epochs=1",
    }
    for old, new in smaller.items():
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    exec(compile(code, "README.md", "exec"), {})
    accuracy, _, cost = capsys.readouterr().out.strip().splitlines()[-1].partition(" ")
    assert 0 <= float(accuracy) <= 1 and "parameters" in cost


@pytest.mark.slow
def test_the_page_of_studies_has_every_stored_study_as_its_rows_have_it() -> None:
    from kdcourse.files import shipped
    from kdcourse.runs.study import FOLDER, STUDIES, study_named
    from kdcourse.runs.study.rows import Rows

    page, folder = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8"), shipped(FOLDER)
    for name, kind in STUDIES.items():
        rows = Rows(folder, name).read()
        assert (f"## {kind.question}" in page) == bool(rows)
        if rows:
            assert study_named(name, folder).text(rows) in page and f"{len(rows)} runs" in page
