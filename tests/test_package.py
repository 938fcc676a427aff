from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.plugin.interface import BuilderInterface
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import kdcourse

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "kdcourse"

# Left to right, as the package docstring has it. `doctor` looks at everything but is imported by the
# command line alone.
ORDER = [
    "errors",
    "files",
    "pages",
    "cluster",
    "data",
    "models",
    "training",
    "distillation",
    "evaluation",
    "deploy",
    "figures",
    "widgets",
    "checks",
    "course",
    "runs",
    "coursework",
    "lab",
    "doctor",
    "cli",
]


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bare_import_brings_no_heavy_package() -> None:
    # `import kdcourse` may cost a tenth of `import torch`: it costs far less, since it imports nothing.
    code = (
        "import sys; before = set(sys.modules); import kdcourse; dir(kdcourse); kdcourse.__version__\n"
        "print(*sorted(name for name in set(sys.modules) - before if '.' not in name))"
    )
    brought = set(_python(code).split())
    assert "kdcourse" in brought
    assert brought - set(sys.stdlib_module_names) == {"kdcourse"}


@pytest.mark.parametrize(
    ("given", "before", "spins"),
    [
        ({}, "", ["500", "1"]),
        (
            {},
            "import sys; sys.modules['torch'] = sys; ",
            [None, None],
        ),  # OpenMP has read its settings already
        ({"OMP_WAIT_POLICY": "active"}, "", [None, None]),
        ({"GOMP_SPINCOUNT": "7"}, "", ["7", None]),
    ],
)
def test_threads_wait_without_spinning_unless_told(
    given: dict[str, str], before: str, spins: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    told = "print(json.dumps([os.environ.get(name) for name in ('GOMP_SPINCOUNT', 'KMP_BLOCKTIME')]))"
    assert json.loads(_python(f"{before}import json, os, kdcourse; {told}")) == spins


@pytest.mark.slow
def test_modules_are_imported_on_demand_and_stay_light() -> None:
    """Every module is there after a bare import; what only some functions need is not imported with it."""
    code = (
        "import json, sys, kdcourse\n"
        "modules = [name for name in kdcourse.__all__ if name not in ('figures', 'runs')]\n"
        "opened = [getattr(kdcourse, name).__name__ for name in modules]\n"
        "from kdcourse import data\n"
        "assert data is kdcourse.data and callable(kdcourse.data.fashion_mnist)\n"
        "heavy = ['matplotlib', 'torchvision', 'accelerate', 'torchmetrics', 'sklearn', 'scipy', 'torchdistill']\n"
        "print(json.dumps([opened, [name for name in heavy if name in sys.modules]]))"
    )
    opened, heavy = json.loads(_python(code))
    assert opened == [f"kdcourse.{name}" for name in kdcourse.__all__ if name not in ("figures", "runs")]
    assert heavy == []


def test_every_room_named_exists_and_is_listed() -> None:
    on_disk = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert on_disk <= set(kdcourse.__all__), "a folder of the package that __init__.py does not name"
    for name in kdcourse.__all__:
        assert name in dir(kdcourse)
        assert getattr(kdcourse, name).__name__ == f"kdcourse.{name}"


def test_unknown_name_is_an_attribute_error_that_lists_the_rooms() -> None:
    with pytest.raises(
        AttributeError, match=r"no attribute 'distilation'; it has checks, course, coursework, data, deploy"
    ):
        _ = kdcourse.distilation  # type: ignore[attr-defined]
    assert not hasattr(kdcourse, "nothing_of_this_name")


@pytest.mark.parametrize(
    "path",
    # A lesson's source is a notebook, which may use all of the package.
    sorted(path for path in PACKAGE.rglob("*.py") if path.name != "lesson.py"),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_nothing_imports_what_stands_to_its_right(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room in ("__init__", "__main__"):
        return
    assert room in ORDER, f"{room} has no place in the order of rooms"
    for imported in _rooms_imported(path):
        assert ORDER.index(imported) <= ORDER.index(room), f"{path.name} imports kdcourse.{imported}"


def _rooms_imported(path: Path) -> set[str]:
    """First name below kdcourse of everything that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".")
            if node.level:
                # Relative: the folder that the dots lead to, as a path below the package.
                folder = path.parents[node.level - 1].relative_to(PACKAGE.parent).parts
                parts = [*folder, *(part for part in parts if part)]
            if parts == ["kdcourse"]:
                found |= {alias.name for alias in node.names}
            elif parts[0] == "kdcourse":
                found.add(parts[1])
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {name[1] for name in names if name[0] == "kdcourse" and len(name) > 1}
    return found - {"__version__"}


def test_imports_are_found_in_all_their_forms(tmp_path: Path) -> None:
    folder = PACKAGE / "data"
    source = folder / "splits.py"
    assert _rooms_imported(source) == {"errors"}
    code = tmp_path / "sample.py"
    code.write_text(
        "from kdcourse import models\nimport kdcourse.training as t\n"
        "def f():\n    from kdcourse.figures.curves import draw\n"
    )
    assert _rooms_imported(code) == {"models", "training", "figures"}


def test_lower_bounds_leave_the_versions_of_colab_alone() -> None:
    """Python 3.13, torch 2.11.0, torchvision 0.26.0, numpy 2.1.3, matplotlib 3.10.0, ipywidgets 7.7.1."""
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = project["dependencies"] + project["optional-dependencies"]["notebooks"]
    needs = {(need := Requirement(text)).name: need for text in listed}
    there = {
        "torch": "2.11.0",
        "torchvision": "0.26.0",
        "numpy": "2.1.3",
        "matplotlib": "3.10.0",
        "ipywidgets": "7.7.1",
    }
    for name, version in there.items():
        assert needs[name].specifier.contains(version), f"Colab's {name} {version} would be replaced"
    assert all("<" not in str(need.specifier) and "==" not in str(need.specifier) for need in needs.values())


def test_constraints_pin_everything_that_is_asked_for() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    assert not any(line.startswith("-") or "://" in line for line in lines), "constraints are versions only"
    pins: dict[str, list[Requirement]] = {}
    for line in lines:
        pins.setdefault(canonicalize_name(Requirement(line).name), []).append(Requirement(line))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for text in project["dependencies"] + extras["test"] + extras["notebooks"]:
        need = Requirement(text)
        assert canonicalize_name(need.name) in pins, f"{need.name} is not in constraints.txt: make it again"
        for pin in pins[canonicalize_name(need.name)]:
            (version,) = pin.specifier
            assert version.operator == "==" and need.specifier.contains(version.version), str(pin)


def _contents(builder: BuilderInterface[Any, Any]) -> set[str]:
    """Return the paths that a wheel or source distribution would hold, without building it."""
    return {Path(file.distribution_path).as_posix() for file in builder.recurse_included_files()}


def test_a_wheel_holds_the_package_and_its_weights_alone() -> None:
    builder = WheelBuilder(str(ROOT))
    files = _contents(builder)
    assert {path.split("/")[0] for path in files} == {"kdcourse"}
    for path in (
        "__init__.py",
        "py.typed",
        "cli.py",
        "lab/labextensions/kdcourse/static/readable.js",
        "pages/base.html",
        "pages/kit.html",
        "pages/style.css",
        "runs/report.html",
        "coursework/feedback.html",
        "coursework/report.html",
        "shipped/lessons/00_start_here.ipynb",
        "shipped/lessons/glossary.md",
        "shipped/teachers/SHA256SUMS",
        "shipped/students/recorded.json",
    ):
        assert f"kdcourse/{path}" in files
    assert not [
        path for path in files if re.search(r"(^|/)(tests?|tools|website|benchmarks?)(/|\.py$)", path)
    ]
    assert builder.config.shared_data == builder.config.shared_scripts == {}, "installed beside the package"


def test_a_source_distribution_holds_what_the_tests_import() -> None:
    files = _contents(SdistBuilder(str(ROOT)))
    for path in ("kdcourse/cli.py", "tests/test_package.py", "tools/readme/pages.py", "benchmarks/bench.py"):
        assert path in files
