"""Check whether this machine is ready for the course, say how to fix what isn't, and fix it on request.

`checks` returns a list of `Finding`, `report` formats it, `exit_status` is 0 if no check failed. A finding may hold a
`Fix`; `repair` carries those out. This module works without torch, torchvision or any other package, because it checks
them: each is imported inside the check that needs it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OLDEST_PYTHON = (3, 11)
DISK_NEEDED = 1e9  # bytes: soft targets of many views, checkpoints, reports
MEMORY_NEEDED = 2e9  # bytes: torch itself, the data as uint8 and float32, activations of a batch
MEMORY_LEAST = 1e9  # bytes: with less, a run would probably be killed; with more it may be slow
MISMATCH = "operator torchvision::nms does not exist"
CHECKOUT = Path(__file__).resolve().parents[1]
OLD_PART = 24 * 3600  # seconds after which nobody continues an interrupted download

_IMPORT_BOTH = """
import json, sys
stage = "torch"
try:
    import torch
    stage = "torchvision"
    import torchvision
    from torchvision.ops import nms
    # An operator that was compiled for another torch fails only when called.
    nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    stage = ""
except BaseException as error:
    print(json.dumps({"stage": stage, "error": f"{type(error).__name__}: {error}"}))
else:
    print(json.dumps({"stage": stage, "error": ""}))
"""


@dataclass(frozen=True)
class Fix:
    """Hold what the doctor can do about a finding.

    ``words`` say what, such as "run pip install jupyterlab"; two fixes with the same words are the same. ``do`` does
    it, returns a sentence about what was done, and raises an exception if it can't.
    """

    words: str
    do: Callable[[], str] = field(compare=False)


@dataclass(frozen=True)
class Finding:
    """Hold the result of one check: ``ok`` is True, False (failed) or None (a warning: the course runs anyway)."""

    name: str
    ok: bool | None
    found: str
    cure: str = ""
    fix: Fix | None = None

    @property
    def word(self) -> str:
        """Return ``ok``, ``warn`` or ``FAIL``."""
        return {True: "ok", None: "warn", False: "FAIL"}[self.ok]


def checks(folder: Path | None = None) -> list[Finding]:
    """Run all checks; a check that raises an exception becomes a failed finding.

    Args:
        folder: the learner's lessons; by default `kdcourse.lab.lessons.own_folder`.
    """
    findings = [
        *_guarded("Python", python),
        *_guarded("packages", packages),
        *_guarded("torch, torchvision", torch_pair),
    ]
    torch_works = any(finding.name == "torch" and finding.ok is not False for finding in findings)
    for name, check in (("device", device), ("precision", precision), ("data", data)):
        if torch_works:
            findings += _guarded(name, check)
        else:
            findings.append(
                Finding(name, None, "not checked, because torch does not work", "Fix torch first, see above.")
            )
    for name, check in (
        ("teachers", teachers),
        ("cache", cache),
        ("lessons", functools.partial(own_lessons, folder)),
        ("Jupyter", jupyter),
        ("kernel", kernel),
        ("disk", disk),
        ("memory", memory),
    ):
        findings += _guarded(name, check)
    return findings


def fixes(findings: Iterable[Finding]) -> list[Fix]:
    """Return what can be done about the findings, each fix once."""
    return list(dict.fromkeys(finding.fix for finding in findings if finding.ok is not True and finding.fix))


def repair(findings: Iterable[Finding], say: Callable[[str], object] = print) -> bool:
    """Carry out all fixes, one after the other, and return whether all succeeded.

    Args:
        findings: of `checks`.
        say: is called with one line before and one after each fix.
    """
    succeeded = True
    for fix in fixes(findings):
        say(f"Fixing: {fix.words}")
        try:
            say(f"  done: {fix.do()}")
        except Exception as error:  # whatever goes wrong with one, the others are tried
            say(f"  failed: {error}")
            succeeded = False
    return succeeded


def report(findings: Sequence[Finding]) -> str:
    """Return the findings as text: one per line, each fix below its finding, and a summary at the end."""
    width = max((len(finding.name) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{finding.word:<4}  {finding.name:<{width}}  {finding.found}")
        if finding.ok is not True:
            lines += [f"{'':<{width + 6}}  -> {line}" for line in finding.cure.splitlines()]
    failed = sum(finding.ok is False for finding in findings)
    warned = sum(finding.ok is None for finding in findings)
    verdict = f"{failed} of {len(findings)} checks failed" if failed else "All is well"
    if warned:
        verdict += f", {warned} warning{'s' if warned > 1 else ''}"
    offered = [f"  - {fix.words}" for fix in fixes(findings)]
    if offered:
        offered.insert(0, "`kdcourse doctor --fix` will:")
    return "\n".join([*lines, "", verdict + ".", *offered])


def exit_status(findings: Iterable[Finding]) -> int:
    """Return 0 if no check failed (warnings are allowed), else 1."""
    return int(any(finding.ok is False for finding in findings))


def python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> list[Finding]:
    """Check that Python is new enough."""
    found = ".".join(map(str, version)) + f" ({sys.executable})"
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return [
        Finding(
            "Python",
            version >= OLDEST_PYTHON,
            found,
            f"kdcourse needs Python {oldest} or newer: install one and make the environment with it,\n"
            f"python{oldest} -m venv .venv",
        )
    ]


def packages(
    requirements: Sequence[str] | None = None, version_of: Callable[[str], str | None] | None = None
) -> list[Finding]:
    """Check that kdcourse's requirements are installed (torch and torchvision have their own check)."""
    from packaging.requirements import Requirement

    version_of = version_of or _version
    if requirements is None:
        try:
            requirements = importlib.metadata.requires("kdcourse") or []
        except importlib.metadata.PackageNotFoundError:
            return [Finding("packages", None, "kdcourse is read from a folder, not installed", _install())]
    wanted = [Requirement(text) for text in requirements]
    wrong = []
    count = 0
    for need in wanted:
        if need.name in ("torch", "torchvision") or (need.marker and not need.marker.evaluate({"extra": ""})):
            continue
        count += 1
        version = version_of(need.name)
        if version is None:
            wrong.append((need, f"{need.name} is missing"))
        elif not need.specifier.contains(version, prereleases=True):
            wrong.append((need, f"{need.name} {version}, wanted {need.specifier}"))
    if wrong:
        names = " ".join(f'"{need.name}{need.specifier}"' for need, _ in wrong)
        found = "; ".join(text for _, text in wrong)
        return [Finding("packages", False, found, _pip(names), _pip_fix(names))]
    return [Finding("packages", True, f"all {count} that kdcourse asks for")]


def torch_pair(
    version_of: Callable[[str], str | None] | None = None,
    wants: Sequence[str] | None = None,
    imported: Callable[[], tuple[str, str]] | None = None,
    pins: dict[str, str] | None = None,
) -> list[Finding]:
    """Check that torch and torchvision are installed, can be imported and match.

    torchvision's compiled operators work with one release of torch only. With another, ``import torchvision`` fails
    with "operator torchvision::nms does not exist", or the interpreter crashes. So they are imported in another
    process, and the release of torch that torchvision requires is read from its metadata.

    Args:
        version_of: returns the installed version of a distribution, or None.
        wants: torchvision's requirements as its metadata lists them.
        imported: imports both; returns the one that failed ("torch", "torchvision" or "") and the error.
        pins: versions that are known to match, by name; by default those of the checkout's constraints.txt.
    """
    version_of = version_of or _version
    torch, vision = version_of("torch"), version_of("torchvision")
    if pins is None:
        pins = _pins()
    spec = _torch_wanted(wants if wants is not None else _requires("torchvision"))
    wanted_pair = _pair(torch, vision, spec, pins)
    cure, fix = _pip(wanted_pair), _pip_fix(wanted_pair)
    if torch is None or vision is None:
        missing = [
            Finding(name, False, "not installed", cure, fix)
            if version is None
            else Finding(name, True, version)
            for name, version in (("torch", torch), ("torchvision", vision))
        ]
        if torch is None:
            return missing
    failed, error = (imported or functools.partial(_import_both, vision is not None))()
    if failed == "torch":
        vision_found = f"{vision or 'not installed'}, not tried, because torch does not work"
        return [
            Finding("torch", False, f"{torch}, but it can't be imported: {error}", cure, fix),
            Finding("torchvision", None if vision else False, vision_found, cure, fix),
        ]
    if vision is None:
        return missing
    found = Finding("torch", True, torch)
    suits = _contains(spec, torch)
    wanted = f"torchvision {vision} asks for torch{spec}" if spec else f"torchvision {vision}"
    if failed:
        if MISMATCH in error:
            found_text = (
                f"{vision} does not fit torch {torch}: {error}. It was compiled for another torch "
                f"({wanted}); installing one of the two alone leads here."
            )
        else:
            found_text = f"{vision} can't be imported beside torch {torch}: {error} ({wanted})"
        return [found, Finding("torchvision", False, found_text, cure, fix)]
    if not suits:
        return [
            found,
            Finding("torchvision", None, f"{vision} works beside torch {torch}, though {wanted}", cure),
        ]
    return [found, Finding("torchvision", True, f"{vision}, matches torch {torch}")]


def device() -> list[Finding]:
    """Report the device that the course uses."""
    import torch

    threads = f"{torch.get_num_threads()} of {os.cpu_count()} processor cores used"
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        return [Finding("device", True, f"CUDA: {names}; {threads}")]
    if torch.backends.mps.is_available():
        return [Finding("device", True, f"Apple GPU (MPS); {threads}")]
    return [Finding("device", True, f"CPU; {threads}")]


def precision(measure: Callable[[str], dict[str, float]] | None = None) -> list[Finding]:
    """Say which number format training takes on this machine, and measure what each costs."""
    import torch

    from kdcourse.training import precision as formats

    where = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    times = (measure or formats.measure)(where)
    ranked = sorted(times.items(), key=lambda item: item[1])
    listed = ", ".join(f"{name} {1000 * seconds:.2f} ms" for name, seconds in ranked)
    found = f"{formats.usual_precision(where)} on {where} (a small training step: {listed})"
    return [Finding("precision", True, found)]


def data(verify: Callable[[], Iterable[tuple[Path, bool, str, str]]] | None = None) -> list[Finding]:
    """Check that the files of Fashion-MNIST are intact; a file that must still be downloaded is a warning.

    Args:
        verify: returns (file, intact, expected digest, found digest or "missing") for each file.
    """
    if verify is None:
        from kdcourse.data import fashion

        verify = fashion.verify
    results = list(verify())
    damaged = [
        Finding(
            "data",
            False,
            f"{file}: SHA-256 should be {expected}, found {found}",
            "In a checkout: git checkout -- data/FashionMNIST\n"
            "Elsewhere delete the file: kdcourse fetches it again when it is next needed.",
            _replace_image_file(Path(file)),
        )
        for file, whole, expected, found in results
        if not whole and found != "missing"
    ]
    missing = [str(file) for file, whole, _, found in results if not whole and found == "missing"]
    if missing:
        damaged.append(
            Finding(
                "data",
                None,
                f"{len(missing)} of {len(results)} files of Fashion-MNIST are not here: {', '.join(missing)}",
                "They are fetched (31 MB) when first needed. Without a network, copy the repository's data\n"
                "folder here and name it in the environment variable KDCOURSE_DATA.",
                Fix("download the images of Fashion-MNIST (31 MB)", _load_images),
            )
        )
    return damaged or [Finding("data", True, f"{len(results)} files of Fashion-MNIST, checksums agree")]


def teachers(folder: Path | None = None) -> list[Finding]:
    """Check the trained teachers against the ``SHA256SUMS`` in their folder."""
    from kdcourse.errors import CheckpointError
    from kdcourse.files import CHECKSUMS, read_checksums, sha256, shipped

    folder = folder or shipped("teachers")
    sums = folder / CHECKSUMS
    if not sums.is_file():
        return [
            Finding(
                "teachers",
                None,
                f"no trained teachers here ({sums} is missing)",
                "Copy the repository's data folder here, or train them: kdcourse run --teachers train",
            )
        ]
    cure = "Restore them, git checkout -- data/teachers, or train them: kdcourse run --teachers train"
    fix = _restored(folder)
    try:
        listed = read_checksums(folder)
    except CheckpointError as error:
        return [Finding("teachers", False, str(error), cure, fix)]
    wrong = [] if listed else [f"{sums} lists no file"]
    for name, expected in listed.items():
        path = folder / name
        actual = sha256(path) if path.is_file() else "no file"
        if actual != expected:
            wrong.append(f"{name}: SHA-256 should be {expected}, found {actual}")
    return [Finding("teachers", False, text, cure, fix) for text in wrong] or [
        Finding("teachers", True, f"{len(listed)} files, checksums agree")
    ]


def jupyter(version_of: Callable[[str], str | None] | None = None) -> list[Finding]:
    """Check what opens the lessons; only warnings, because `kdcourse run` works without it."""
    version_of = version_of or _version
    # VS Code and hosted notebooks need only ipykernel.
    for name in ("jupyterlab", "notebook", "ipykernel"):
        if version := version_of(name):
            notebooks = Finding("Jupyter", True, f"{name} {version}")
            break
    else:
        notebooks = Finding(
            "Jupyter", None, "not installed; the lessons need it, kdcourse run does not", _pip("jupyterlab"),
            _pip_fix("jupyterlab"),
        )  # fmt: skip
    widgets = version_of("ipywidgets")
    numbers = tuple(int(part) for part in re.findall(r"\d+", widgets or "")[:3])
    old = f"{widgets} is older than 7.7.1" if widgets else "not installed; the lessons' sliders need it"
    return [
        notebooks,
        Finding("ipywidgets", True, widgets)
        if widgets and numbers >= (7, 7, 1)
        else Finding("ipywidgets", None, old, _pip('"ipywidgets>=7.7.1"'), _pip_fix('"ipywidgets>=7.7.1"')),
    ]


def kernel(spec: Callable[[], Sequence[str]] | None = None) -> list[Finding]:
    """Check that the kernel which runs the lessons' cells, python3, is this Python.

    Args:
        spec: returns the command of the kernel python3; raises if there is none.
    """
    if _version("ipykernel") is None and spec is None:
        text = "not installed; the lessons' cells need ipykernel"
        return [Finding("kernel", None, text, _pip("ipykernel"), _pip_fix("ipykernel"))]
    from jupyter_core.paths import prefer_environment_over_user

    where = "--sys-prefix" if prefer_environment_over_user() else "--user"  # where Jupyter looks first
    install = [sys.executable, "-m", "ipykernel", "install", where, "--name", "python3"]
    fix = Fix(
        "let Jupyter's kernel python3 run this Python",
        lambda: _run(install) and f"python3 runs {sys.executable}",
    )
    cure = shlex.join(install)
    try:
        program = (spec or _kernel_command)()[0]
    except Exception as error:
        return [Finding("kernel", None, f"there is no kernel python3: {error}", cure, fix)]
    found = shutil.which(program)
    # Jupyter itself replaces a bare name by its own Python.
    if re.fullmatch(r"python[\d.]*", program) or (found and _same_python(Path(found))):
        return [Finding("kernel", True, "python3 runs this Python")]
    text = f"the kernel python3 runs {program}, " + (
        "which isn't there" if found is None else "where kdcourse may be missing"
    )
    return [Finding("kernel", None, text, cure, fix)]


def own_lessons(folder: Path | None = None) -> list[Finding]:
    """Check the learner's copies of lessons: whether each can be read, and whether it is of the present version."""
    from kdcourse.lab import lessons

    folder = folder or lessons.own_folder()
    if not folder.is_dir():
        return [Finding("lessons", True, f"`kdcourse lab` will copy them to {folder}")]
    names = [form.name for form in lessons.forms().glob("*.ipynb")]
    damaged = [
        path for path in sorted(map(folder.joinpath, names)) if path.exists() and not _is_notebook(path)
    ]
    older = [path for path in lessons.older(folder) if path not in damaged]
    findings = []
    for paths, text in (
        (damaged, "can't be read as a notebook"),
        (older, "is of an earlier version, and you have changed it"),
    ):
        for path in paths:
            cure = f"Rename {path.name}; `kdcourse lab` then copies the lesson anew. It never overwrites your file."
            fix = Fix(f"rename your {path.name} and put the lesson as it is now in its place", _aside(path))
            findings.append(Finding("lessons", None, f"{path} {text}", cure, fix))
    return findings or [Finding("lessons", True, f"in {folder}")]


def cache(folders: Sequence[Path] | None = None) -> list[Finding]:
    """Check the files that can be computed or fetched again: damaged soft targets, and downloads that were given up."""
    if folders is None:
        from platformdirs import user_cache_path

        own = user_cache_path("kdcourse")
        folders = [own, Path(os.environ.get("KDCOURSE_CACHE") or own)]
    files = {file for folder in folders for file in folder.rglob("*") if file.is_file()}
    useless = [file for file in sorted(files) if _is_useless(file)]
    size = sum(file.stat().st_size for file in files) / 1e6
    if not useless:
        return [Finding("cache", True, f"{len(files)} files, {size:.0f} MB, none damaged")]

    def remove() -> str:
        for file in useless:
            file.unlink(missing_ok=True)
        return f"deleted {len(useless)} files; what they held is made again when it is needed"

    listed = ", ".join(map(str, useless[:3])) + (f" and {len(useless) - 3} more" if len(useless) > 3 else "")
    return [
        Finding(
            "cache",
            None,
            f"{len(useless)} of {len(files)} files are damaged or incomplete: {listed}",
            "Delete them: they are made again when they are needed.",
            Fix(f"delete {len(useless)} damaged files from the cache", remove),
        )
    ]


def disk(
    folders: Sequence[Path] | None = None,
    free_at: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
) -> list[Finding]:
    """Check the disk space for soft targets (the user's cache) and reports (the working folder)."""
    if folders is None:
        folders = [Path.cwd()]
        # If it is missing, `packages` says so; the working folder can be checked without it.
        with contextlib.suppress(ModuleNotFoundError):
            from platformdirs import user_cache_path

            folders.append(user_cache_path("kdcourse"))
    free, where = min((free_at(_existing(folder)), str(folder)) for folder in folders)
    return [
        Finding(
            "disk",
            free >= DISK_NEEDED,
            f"{free / 1e9:.1f} GB free at {where}, {DISK_NEEDED / 1e9:.0f} GB needed",
            f"Free some space there. What kdcourse keeps in {folders[-1]} may be deleted: it is made again.",
        )
    ]


def memory(available: float | None = None) -> list[Finding]:
    """Check the free memory, within a container's limit if there is one."""
    if available is None:
        import psutil

        available = float(psutil.virtual_memory().available)
        if (left := _container_memory()) is not None:
            available = min(available, left)
    ok = True if available >= MEMORY_NEEDED else None if available >= MEMORY_LEAST else False
    return [
        Finding(
            "memory",
            ok,
            f"{available / 1e9:.1f} GB free, {MEMORY_NEEDED / 1e9:.0f} GB needed",
            "Close other programs (browsers and running notebooks first), or ask for a larger machine.",
        )
    ]


def main(arguments: Sequence[str] = ()) -> int:
    """Print the report: ``python -m kdcourse.doctor`` works even if the command line's packages are broken.

    Args:
        arguments: ``--fix`` to fix what can be fixed, and print a second report; ``--notebooks FOLDER`` if the lessons
            aren't in their usual folder.
    """
    import argparse

    parser = argparse.ArgumentParser(prog="python -m kdcourse.doctor")
    parser.add_argument("--fix", action="store_true")
    parser.add_argument("--notebooks", type=Path)
    chosen = parser.parse_args(arguments)
    return visit(chosen.notebooks, fix=chosen.fix)


def visit(folder: Path | None = None, *, fix: bool = False, say: Callable[[str], object] = print) -> int:
    """Check this machine, fix what can be fixed if ``fix``, and return the exit code.

    Args:
        folder: see `checks`.
        fix: carry out all fixes, then check again in a new process, because this one has loaded what was replaced.
        say: is called with the report and with each line of `repair`.
    """
    findings = checks(folder)
    say(report(findings))
    if not fix:
        return exit_status(findings)
    if not fixes(findings):
        say("There is nothing that the doctor can fix.")
        return exit_status(findings)
    say("")
    succeeded = repair(findings, say)
    say("\nChecking again:")
    again = [sys.executable, "-m", "kdcourse.doctor"] + (["--notebooks", str(folder)] if folder else [])
    sys.stdout.flush()
    return subprocess.run(again).returncode or int(not succeeded)


def _guarded(name: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except ModuleNotFoundError as error:
        return [Finding(name, False, f"can't be checked without the package {error.name}", _install())]
    except Exception as error:
        # A broken installation can fail in any way; the other checks must still run.
        found = f"the check failed: {type(error).__name__}: {error}"
        return [Finding(name, False, found, _install())]


def _pip(arguments: str) -> str:
    # The interpreter's path, because a bare "pip" may belong to another Python.
    interpreter = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    return f"{interpreter} -m pip install {arguments}"


def _pip_fix(arguments: str) -> Fix:
    """Return the fix that installs packages with pip, or with uv where an environment has no pip."""
    asked = shlex.split(arguments)
    command = [sys.executable, "-m", "pip", "install", *asked]
    uv = shutil.which("uv")
    if uv and importlib.util.find_spec("pip") is None:
        # uv reinstalls without an option of its own for dependencies that stay.
        asked = ["--reinstall" if word == "--force-reinstall" else word for word in asked]
        command = [uv, "pip", "install", "--python", sys.executable, *asked]
    return Fix(f"run pip install {arguments}", lambda: _run(command) and f"installed {arguments}")


def _run(command: Sequence[str], folder: Path | None = None) -> str:
    """Run a command and return its name; raise a RuntimeError with its last words if it fails."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise RuntimeError(f"{command[0]} can't be started: {error.strerror or error}") from None
    if done.returncode:
        words = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-5:])
        raise RuntimeError(f"{shlex.join(command)} ended with status {done.returncode}:\n{words}")
    return command[0]


def _in_git(path: Path) -> bool:
    return (
        (CHECKOUT / ".git").exists() and path.resolve().is_relative_to(CHECKOUT) and bool(shutil.which("git"))
    )


def _restore_from_git(path: Path) -> str:
    _run(["git", "checkout", "--", str(path)], CHECKOUT)
    return f"git has restored {path}"


def _restored(folder: Path) -> Fix:
    """Return the fix for damaged files that came with the course: from git, or by installing the package again."""
    if _in_git(folder):
        return Fix(f"restore {folder} from git", functools.partial(_restore_from_git, folder))
    arguments = f"--force-reinstall --no-deps {_source()}"
    return _pip_fix(arguments)


def _replace_image_file(path: Path) -> Fix:
    """Return the fix for a damaged file of Fashion-MNIST."""
    if _in_git(path):
        return Fix(f"restore {path} from git", functools.partial(_restore_from_git, path))

    def replace() -> str:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        try:
            return _load_images()
        finally:
            if path.is_file():  # the new one is there
                aside.unlink()

    return Fix(f"replace {path} by a new download", replace)


def _load_images() -> str:
    from kdcourse.data import fashion_mnist

    return f"{len(fashion_mnist().train):,} training images are there"


def _kernel_command() -> Sequence[str]:
    from jupyter_client.kernelspec import KernelSpecManager

    command: Sequence[str] = KernelSpecManager().get_kernel_spec("python3").argv
    return command


def _same_python(program: Path) -> bool:
    """Return whether a program is this Python; a virtual environment's differs from the one that it was made with."""
    here = Path(sys.executable)
    return program.parent.resolve() == here.parent.resolve() and program.resolve() == here.resolve()


def _is_notebook(path: Path) -> bool:
    try:
        return "cells" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _aside(path: Path) -> Callable[[], str]:
    def rename() -> str:
        from kdcourse.lab import lessons

        return f"yours is {lessons.set_aside(path).name}"

    return rename


def _is_useless(file: Path) -> bool:
    """Return whether a file of the cache is the beginning of a download that was given up, or damaged soft targets."""
    try:
        if file.suffix == ".part":
            return time.time() - file.stat().st_mtime > OLD_PART
        # Soft targets end in the SHA-256 of all bytes before, see kdcourse.distillation.targets.files.
        if file.parent.name != "soft-targets" or file.suffix != ".npy":
            return False
        sha, left = hashlib.sha256(), file.stat().st_size - 32
        with file.open("rb") as stream:
            while left > 0 and (chunk := stream.read(min(left, 1 << 20))):
                sha.update(chunk)
                left -= len(chunk)
            return left != 0 or stream.read() != sha.digest()
    except OSError:
        return False  # it is being replaced just now, or isn't ours to read


def _install() -> str:
    """Return the command that installs kdcourse and its requirements from the source of this copy."""
    if (CHECKOUT / "constraints.txt").is_file():
        return f"In {CHECKOUT}: " + _pip("-e . -c constraints.txt")
    return _pip(_source())


def _source() -> str:
    """Return what pip installs kdcourse from."""
    try:
        listed = importlib.metadata.metadata("kdcourse").get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        listed = []
    address = next((url for label, _, url in (entry.partition(", ") for entry in listed) if url), "")
    return f'"kdcourse @ git+{address}"' if address else "kdcourse"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requires(name: str) -> Sequence[str]:
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _torch_wanted(requirements: Sequence[str]) -> str:
    """Return the specifier of torchvision's requirement for torch, such as '==2.11.0'."""
    for text in requirements:
        # "torch==2.11.0" or, as older tools write it, "torch (==2.11.0)".
        if need := re.match(r"torch\s*\(?\s*([<>=!~][^;)]*)", text):
            return need.group(1).strip()
    return ""


def _contains(specifier: str, version: str) -> bool:
    try:
        from packaging.specifiers import SpecifierSet
    except ModuleNotFoundError:
        return True  # The import counts; `packages` reports that packaging is missing.

    return SpecifierSet(specifier).contains(version, prereleases=True)


def _pins() -> dict[str, str]:
    """Return the versions of torch and torchvision in the checkout's constraints.txt."""
    file = CHECKOUT / "constraints.txt"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return dict(re.findall(r"^(torch|torchvision)==([^\s;]+)", text, flags=re.MULTILINE))


def _pair(torch: str | None, vision: str | None, spec: str, pins: dict[str, str]) -> str:
    """Return pip's arguments that install a matching torch and torchvision."""
    if len(pins) == 2:
        pair = f'"torch=={pins["torch"]}" "torchvision=={pins["torchvision"]}"'
        if (torch, vision) == (pins["torch"], pins["torchvision"]):
            # The versions match, so the files must be reinstalled.
            return f"--force-reinstall --no-deps {pair}"
        return pair
    if vision and (release := re.search(r"(?:==|>=|~=)\s*([\d.]+\d)", spec)):
        # Exactly the oldest torch allowed, the one torchvision was compiled with. With a range pip could keep
        # the installed torch.
        return f'--force-reinstall "torch=={release.group(1)}" "torchvision=={vision.split("+")[0]}"'
    return "--upgrade --force-reinstall torch torchvision"


def _import_both(with_torchvision: bool = True) -> tuple[str, str]:
    code = _IMPORT_BOTH
    if not with_torchvision:
        code = 'import torch; print(\'{"stage": "", "error": ""}\')'
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return "torch", "no answer within 300 seconds"
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or [""])[-1]
        return "torch", f"the interpreter ended with status {done.returncode} {last}".rstrip()
    return answer["stage"], answer["error"]


def _existing(folder: Path) -> Path:
    """Return the folder, or its nearest existing parent."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _container_memory(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the bytes left under a Linux control group's limit (version 2, then 1), or None without a limit."""
    for limit_file, used_file, stat_file in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        try:
            limit = float((root / limit_file).read_text())  # "max" where there is no limit
            used = float((root / used_file).read_text())
            stat = (root / stat_file).read_text()
        except (OSError, ValueError):
            continue
        # Cached files count as used, but the system drops them when memory is needed.
        cache = re.search(r"^(?:total_)?inactive_file (\d+)$", stat, flags=re.MULTILINE)
        return limit - used + (float(cache.group(1)) if cache else 0.0)
    return None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
