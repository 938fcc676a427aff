"""The cell that sets up Google Colab: what it does there, and that it does nothing elsewhere."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import kdcourse
from kdcourse.course import lessons
from kdcourse.course.notebook import SET_UP, learners_notebook
from kdcourse.errors import LessonError
from tools.lessons import colab, links

# What Colab had in August 2026, as far as it matters here: also what .ci/colab makes its look-alike of.
_VERSIONS = Path(__file__).parents[3] / ".ci" / "colab-versions.txt"
COLAB = dict(
    line.split("==") for line in _VERSIONS.read_text(encoding="utf-8").splitlines() if line[0] != "#"
)


class Pip:
    """Stands in for `subprocess.run`: keeps what it was asked, and answers as told."""

    def __init__(self, code: int = 0) -> None:
        self.asked: list[list[str]] = []
        self.code = code

    def __call__(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.asked.append(command)
        return subprocess.CompletedProcess(command, self.code, "", "ERROR: no space left")


def _run_cell(
    monkeypatch: pytest.MonkeyPatch, pip: Pip, *, there: bool, on_colab: bool = True
) -> dict[str, Any]:
    """Run the cell as the kernel would, with or without the package, on Colab or not."""
    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if there else None)
    if on_colab:
        monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    else:
        monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    names: dict[str, Any] = {}
    exec(compile(colab.set_up(), "cell", "exec"), names)
    return names


def test_on_colab_the_package_is_installed_at_its_tag_with_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pip = Pip()
    _run_cell(monkeypatch, pip, there=False)
    (command,) = pip.asked
    assert command[:6] == [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    first, *others = command[6:]
    repository = links.home().repository
    assert first == f"kdcourse @ git+{repository}@v{kdcourse.__version__}"
    names = {Requirement(text).name for text in others}
    assert {"accelerate", "typer"} <= names
    assert not names & {"torch", "torchvision", "numpy", "matplotlib", "pillow", "ipywidgets"}
    # Whatever the cell asks for beside what Colab lacks, Colab's own version will do: pip leaves it alone.
    for need in map(Requirement, others):
        assert need.name not in COLAB or need.specifier.contains(COLAB[need.name]), str(need)
    assert names <= set(COLAB)
    assert "a minute or so" in capsys.readouterr().out


def test_every_dependency_is_asked_for_or_colabs_own() -> None:
    dependencies = links.project()["dependencies"]
    assert isinstance(dependencies, list)
    asked = {Requirement(text).name for text in colab.needs()} | set(colab.COLABS_OWN)
    assert {Requirement(text).name for text in dependencies} <= asked


def test_nothing_that_the_packages_need_in_turn_is_left_out() -> None:
    """With --no-deps pip brings only what is named."""
    named = {Requirement(text).name for text in colab.needs()} | set(colab.COLABS_OWN)
    for name in {Requirement(text).name for text in colab.needs()}:
        for text in importlib.metadata.requires(name) or []:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": "", "python_version": "3.13"}):
                assert need.name.lower().replace("_", "-") in named | set(COLAB), f"{name} needs {need}"


def test_elsewhere_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pip, before = Pip(), set(sys.modules)
    names = _run_cell(monkeypatch, pip, there=False, on_colab=False)
    assert pip.asked == []
    assert set(names) - {"__builtins__"} == {"sys"}
    assert set(sys.modules) == before
    assert capsys.readouterr() == ("", "")


def test_once_is_enough(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pip = Pip()
    _run_cell(monkeypatch, pip, there=True)
    assert pip.asked == [] and capsys.readouterr().out == ""


def test_when_pip_fails_its_words_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match=r"run this cell again\. It said:\nERROR: no space left"):
        _run_cell(monkeypatch, Pip(1), there=False)


def test_every_notebook_begins_with_it() -> None:
    for lesson in lessons():
        cells = learners_notebook(lesson, colab.set_up()).cells
        code = [cell for cell in cells if cell.cell_type == "code"]
        assert (code[0].id, code[0].source) == (SET_UP, colab.set_up())
        assert code[0].metadata.jupyter.source_hidden and code[0].metadata.cellView == "form"
        assert [cell.id for cell in cells].count(SET_UP) == 1
        assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")


def test_the_cell_is_of_the_address_in_pyproject_alone(tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    text = links.PYPROJECT.read_text(encoding="utf-8")
    pyproject.write_text(text.replace(links.home().repository, "https://github.com/someone/else.git"))
    home = links.home(pyproject)
    assert (home.owner, home.name) == ("someone", "else")
    cell = colab.set_up(pyproject)
    assert f'"kdcourse @ git+https://github.com/someone/else@v{kdcourse.__version__}"' in cell
    assert home.website == "https://someone.github.io/else/"
    assert home.colab("04_x").endswith(
        f"/github/someone/else/blob/v{kdcourse.__version__}/notebooks/open/04_x.ipynb"
    )
    assert home.binder("04_x").endswith(
        f"/gh/someone/else/v{kdcourse.__version__}?urlpath=lab%2Ftree%2Fnotebooks%2Fopen%2F04_x.ipynb"
    )


def test_an_address_elsewhere_or_none_is_refused(tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    with pytest.raises(LessonError, match="in a checkout"):
        links.home(pyproject)
    pyproject.write_text('[project]\nurls = {Repository = "https://example.org/x"}\n')
    with pytest.raises(
        LessonError, match=r"must be https://github\.com/OWNER/NAME; found 'https://example\.org/x'"
    ):
        links.home(pyproject)
    pyproject.write_text("[project]\n")
    with pytest.raises(LessonError, match="found ''"):
        links.home(pyproject)
