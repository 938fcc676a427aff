"""What people meet first: README, Binder, workflows, forms, citation. They agree with the package and each other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

import kdcourse
from kdcourse.lab import EXTENSIONS
from tools.lessons import links
from tools.readme import lessons

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
TEXTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md")]


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# -- Binder and conda ------------------------------------------------------------------------

# What conda-forge calls differently from pip.
CONDA = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}


def _conda() -> dict[str, str]:
    """Name -> version as environment.yml has it."""
    listed = _yaml(ROOT / "environment.yml")["dependencies"]
    assert all(isinstance(entry, str) for entry in listed), "pip would bring its own torch"
    return dict(re.fullmatch(r"([\w.-]+)(.*)", entry).groups() for entry in listed)  # type: ignore[union-attr]


def test_binder_gets_what_pip_would_install_with_the_same_bounds() -> None:
    there = _conda()
    needs = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["notebooks"]
    wanted = {CONDA.get((need := Requirement(text)).name, need.name): str(need.specifier) for text in needs}
    wanted["hatchling"] = str(Requirement(_build_system()).specifier)
    # Without build isolation pip brings nothing that the build asks for on its way.
    wanted["editables"] = ">=0.5"
    assert {name: version for name, version in there.items() if name not in ("python", "pip")} == wanted


def _build_system() -> str:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
    (need,) = build["requires"]
    return str(need)


def test_binders_python_is_pinned_to_one_that_the_package_names() -> None:
    version = _conda()["python"].removeprefix("=")
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version)


def test_binder_takes_torch_for_the_processor_and_from_conda_alone() -> None:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert "pytorch-cpu" in _conda() and not {"pytorch", "pytorch-gpu", "torch"} & set(_conda())
    assert "://" not in text and not re.search(r"\b[\w-]+\.(org|com|io|net)\b", text), "a registry's address"
    assert _yaml(ROOT / "environment.yml")["channels"] == ["conda-forge", "nodefaults"]


def test_post_build_stops_at_the_first_failure_and_brings_the_package_alone() -> None:
    path = ROOT / "postBuild"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines[:5]
    installs = [line for line in lines if "pip install" in line]
    assert len(installs) == 1 and "--no-deps" in installs[0] and "--no-build-isolation" in installs[0]
    if os.name == "posix":
        assert path.stat().st_mode & 0o111, "chmod +x postBuild"


@pytest.mark.skipif(os.name != "posix", reason="Binder's machines run Linux")
@pytest.mark.parametrize(
    ("given", "threads"),
    [
        ({"CPU_LIMIT": "2.0"}, "2"), ({"CPU_LIMIT": "1.9"}, "1"), ({"CPU_LIMIT": "0.5"}, "1"), ({}, "1"),
        ({"CPU_LIMIT": ""}, "1"), ({"CPU_LIMIT": ".5"}, "1"), ({"CPU_LIMIT": "2.0", "OMP_NUM_THREADS": "4"}, "4"),
    ],
)  # fmt: skip
def test_binder_starts_jupyter_with_a_thread_for_each_core(given: dict[str, str], threads: str) -> None:
    environment = {"PATH": os.environ["PATH"]} | given
    command = [str(ROOT / "start"), "bash", "-c", 'echo "$OMP_NUM_THREADS $1"', "-", "a b"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"{threads} a b\n"


@pytest.mark.skipif(os.name != "posix", reason="Binder's machines run Linux")
@pytest.mark.parametrize(
    ("given", "spins"), [({}, "500"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "")]
)
def test_threads_wait_on_binder_as_the_package_has_it(given: dict[str, str], spins: str) -> None:
    command = [str(ROOT / "start"), "bash", "-c", 'echo -n "${GOMP_SPINCOUNT:-}"']
    environment = {"PATH": os.environ["PATH"]} | given
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == spins


@pytest.mark.skipif(os.name != "posix", reason="Binder's machines run Linux")
@pytest.mark.parametrize("before", ["", "/etc/elsewhere"])
def test_binder_opts_in_to_the_extension_of_jupyterlab(before: str, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "JUPYTER_PATH": before}
    command = [str(ROOT / "start"), "bash", "-c", 'echo -n "$JUPYTER_PATH"']
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    ours, *others = done.stdout.split(":")
    assert Path(ours, "labextensions") == EXTENSIONS and others == [before][: bool(before)]


def test_the_dev_container_is_binders_environment_and_vs_code_finds_its_python() -> None:
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    container = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    name = _yaml(ROOT / "environment.yml")["name"]
    made, built = container["onCreateCommand"].split(" && ")
    assert made == "conda env create --file environment.yml"
    assert built == f"conda run --no-capture-output -n {name} bash postBuild"
    settings = container["customizations"]["vscode"]["settings"]
    assert settings["python.defaultInterpreterPath"] == f"/opt/conda/envs/{name}/bin/python"


def test_nothing_else_decides_over_binder() -> None:
    for name in ("Dockerfile", "binder", ".binder", "runtime.txt", "requirements.txt", "apt.txt", "Pipfile"):
        assert not (ROOT / name).exists(), f"{name} would change, or replace, what environment.yml says"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("name", ["postBuild", "start", ".ci/run", ".ci/versions", ".ci/colab", ".ci/binder"])
def test_scripts_are_bash(name: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / name)], check=True, timeout=60)


# -- one address -----------------------------------------------------------------------------


def test_every_address_of_the_repository_is_that_of_pyproject() -> None:
    home = links.home()
    for path in [*TEXTS, ROOT / "CITATION.cff", *WORKFLOWS, *FORMS, *(ROOT / "kdcourse").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        for owner, name in re.findall(r"github\.com/([\w.-]+)/([\w.-]*\bkdcourse\b[\w-]*)", text):
            assert (owner, name) == (home.owner, home.name), path
        for address in re.findall(r"https://[\w-]+\.github\.io/[\w.-]*kdcourse[\w.-]*/?", text):
            assert address.rstrip("/") == home.website.rstrip("/"), path


def test_the_citation_is_of_this_version_and_place() -> None:
    citation = _yaml(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == kdcourse.__version__
    assert citation["repository-code"] == links.home().repository
    assert citation["url"] == links.home().website
    assert citation["license"] == PROJECT["license"]


def test_the_changelog_begins_with_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", text, flags=re.MULTILINE)
    assert newest is not None and newest[1] == kdcourse.__version__


# -- README ----------------------------------------------------------------------------------


def test_the_table_has_a_row_for_every_notebook_with_all_places_to_open_it() -> None:
    rows = lessons.table().splitlines()[2:]
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert len(rows) == len(notebooks)
    for row, path in zip(rows, notebooks, strict=True):
        for place in ("colab.research.google.com/", "mybinder.org/", links.home().website):
            assert re.search(
                rf"\(https://{re.escape(place.removeprefix('https://'))}[^)]*{path.stem}", row
            ), row
        assert re.search(r"\| \d+ \| \[Colab\]", row), row


@pytest.mark.parametrize("path", [*TEXTS, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name)
def test_links_lead_to_lessons_without_results(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links_to_lessons = re.findall(r"\]\(([^)\s]*notebooks[^)\s]*\.ipynb)\)", text)
    wrong = [link for link in links_to_lessons if f"/{links.OPENED}/" not in f"/{link.replace('%2F', '/')}"]
    assert wrong == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_inside_the_repository_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        assert not target.startswith("http:"), target
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), f"{path.name} links to {target}"
        if anchor:
            assert anchor in _anchors(file), (
                f"{path.name} links to {target}; there are {sorted(_anchors(file))}"
            )


def _anchors(path: Path) -> set[str]:
    """GitHub's names of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


# -- workflows and forms ---------------------------------------------------------------------


def _steps(workflow: Any) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_alone_and_uses_actions_at_a_version(path: Path) -> None:
    workflow = _yaml(path)
    assert workflow["permissions"] == {"contents": "read"}
    for step in _steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w/-]+@v\d+", step["uses"]), step
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        # An event's text in a script would be run: https://docs.github.com, 'script injections'.
        assert "github.event" not in step.get("run", ""), step


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_a_workflow_calls_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for script in re.findall(r"\.ci/\w+", text):
        assert os.access(ROOT / script, os.X_OK) or os.name == "nt", script
    for extras in re.findall(r'-e "\.\[([\w,]+)\]"', text):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"]), extras
    for module in re.findall(r"python -m ((?:tools|benchmarks)[\w.]*)", text):
        assert (ROOT / Path(*module.split(".")) / "__main__.py").is_file(), module


def test_all_systems_are_tested_and_both_ends_of_the_versions() -> None:
    jobs = _yaml(ROOT / ".github/workflows/tests.yml")["jobs"]
    assert jobs["tests"]["strategy"]["matrix"]["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    assert jobs["versions"]["strategy"]["matrix"]["versions"] == ["lowest", "newest"]
    weekly = _yaml(ROOT / ".github/workflows/weekly.yml")
    assert "schedule" in weekly[True], "YAML 1.1 reads the key `on` as true"


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="needs actionlint")
def test_actionlint_finds_nothing() -> None:
    done = subprocess.run(["actionlint", *map(str, WORKFLOWS)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_has_what_github_asks_of_one(path: Path) -> None:
    form = _yaml(path)
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert ids and len(set(ids)) == len(ids)
    for field in form["body"]:
        assert field["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert ("value" if field["type"] == "markdown" else "label") in field["attributes"]


def test_who_reports_that_something_fails_is_asked_for_the_doctor() -> None:
    form = _yaml(ROOT / ".github/ISSUE_TEMPLATE/something-does-not-work.yml")
    doctor = next(field for field in form["body"] if field.get("id") == "doctor")
    assert "kdcourse doctor" in doctor["attributes"]["label"]
    assert doctor["validations"]["required"] is True
    assert _yaml(ROOT / ".github/ISSUE_TEMPLATE/config.yml")["blank_issues_enabled"] is False
