from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from types import SimpleNamespace

import pytest

from kdcourse import doctor
from kdcourse.doctor import Finding, Fix
from kdcourse.lab import lessons

ROOT = Path(__file__).parents[1]
PINS = {"torch": "2.15.0", "torchvision": "0.29.2"}
TRAP = "RuntimeError: operator torchvision::nms does not exist"


def _versions(**installed: str) -> Callable[[str], str | None]:
    return installed.get


def _fake(folder: Path, name: str, version: str, code: str, requires: str = "") -> None:
    """A package with metadata, as pip would have left it in a folder of the path."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")


def _doctor_beside(folder: Path, *hidden: str) -> subprocess.CompletedProcess[str]:
    """`python -m kdcourse.doctor` where the packages in ``folder`` come first and ``hidden`` can't be imported."""
    for name in hidden:
        (folder / f"{name}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')"
        )
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "kdcourse.doctor"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        cwd=folder,
        timeout=240,
    )


def _line(text: str, name: str) -> str:
    """The report's line about ``name``, and the cures below it."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line[6:].startswith(name + " "))
    end = next(i for i in range(start + 1, len(lines)) if not lines[i].lstrip().startswith("->"))
    return "\n".join(lines[start:end])


# -- the whole ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_this_machine_is_found_well() -> None:
    findings = doctor.checks()
    assert {finding.name: finding.found for finding in findings if finding.ok is False} == {}
    assert doctor.exit_status(findings) == 0
    seen = [finding.name for finding in findings]
    for name in ("Python", "packages", "torch", "torchvision", "device", "precision", "data", "teachers"):
        assert name in seen
    assert seen[-7:] == ["cache", "lessons", "Jupyter", "ipywidgets", "kernel", "disk", "memory"]
    assert all(finding.cure for finding in findings if finding.ok is not True), "a complaint without a cure"


def test_report_says_it_in_words_and_gives_cures_only_where_needed() -> None:
    text = doctor.report(
        [
            Finding("Python", True, "3.11.7", "never shown"),
            Finding("Jupyter", None, "not installed", "pip install jupyterlab"),
            Finding("torch", False, "broken", "first line\nsecond line"),
        ]
    )
    assert text.splitlines() == [
        "ok    Python   3.11.7",
        "warn  Jupyter  not installed",
        "               -> pip install jupyterlab",
        "FAIL  torch    broken",
        "               -> first line",
        "               -> second line",
        "",
        "1 of 3 checks failed, 1 warning.",
    ]
    assert doctor.report([Finding("a", True, "b")]).endswith("All is well.")


def test_exit_status_is_1_only_for_failures() -> None:
    well, warning, failure = (Finding("x", ok, "y", "z") for ok in (True, None, False))
    assert doctor.exit_status([]) == 0
    assert doctor.exit_status([well, warning]) == 0
    assert doctor.exit_status([well, failure, warning]) == 1


def test_main_prints_and_returns_the_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "checks", lambda folder: [Finding("disk", False, "full", "empty it")])
    assert doctor.main() == 1
    assert "FAIL  disk" in capsys.readouterr().out


def test_a_check_that_breaks_down_is_a_finding_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[Finding]:
        raise TypeError("inside out")

    monkeypatch.setattr(doctor, "torch_pair", broken)
    monkeypatch.setattr(doctor, "memory", broken)
    found = {finding.name: finding for finding in doctor.checks()}
    assert found["memory"].ok is False and "TypeError: inside out" in found["memory"].found
    assert found["memory"].cure
    assert found["disk"].ok is not False
    # Nobody knows whether torch works, so nothing that needs it is tried.
    assert found["data"].ok is None and "torch does not work" in found["data"].found


# -- real processes with broken installations ------------------------------------------------------


def test_a_torchvision_of_another_torch_is_named_with_its_cure(tmp_path: Path) -> None:
    """The trap itself: metadata in order, import dies. The rest of the report still appears."""
    _fake(tmp_path, "torch", "2.13.0+cpu", "def tensor(x): return x\ndef get_num_threads(): return 1")
    _fake(
        tmp_path,
        "torchvision",
        "0.29.2",
        f"raise {TRAP.replace(': ', '(')!s}".replace("(operator", "('operator") + "')",
        requires="torch (>=2.14.0)",
    )
    done = _doctor_beside(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    line = _line(done.stdout, "torchvision")
    assert line.startswith("FAIL")
    for part in ("0.29.2", "torch 2.13.0+cpu", doctor.MISMATCH, "asks for torch>=2.14.0"):
        assert part in line
    assert f'{sys.executable} -m pip install "torch=={doctor._pins()["torch"]}" "torchvision==' in line
    assert "ok    torch        2.13.0+cpu" in done.stdout
    assert "memory" in done.stdout


def test_without_torch_and_torchvision_the_doctor_still_speaks(tmp_path: Path) -> None:
    # -S leaves out site-packages altogether: no torch, no psutil, no platformdirs, no packaging.
    done = subprocess.run(
        [sys.executable, "-S", "-m", "kdcourse.doctor"], capture_output=True, text=True, cwd=ROOT, timeout=240
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stdout.startswith("ok    Python")
    for name in ("packages", "torch", "torchvision", "memory"):
        assert _line(done.stdout, name).startswith("FAIL"), name
        assert "pip install" in _line(done.stdout, name), name
    assert "without the package psutil" in _line(done.stdout, "memory")
    assert _line(done.stdout, "torch").splitlines()[0].endswith("not installed")
    assert _line(done.stdout, "disk").startswith("ok")
    assert _line(done.stdout, "data").startswith("warn")


def test_a_torch_that_kills_the_interpreter(tmp_path: Path) -> None:
    _fake(tmp_path, "torch", "2.15.0", "import os; os._exit(139)")
    done = _doctor_beside(tmp_path)
    assert done.returncode == 1
    line = _line(done.stdout, "torch")
    assert line.startswith("FAIL") and "status 139" in line and "pip install" in line
    assert "memory" in done.stdout


# -- torch and torchvision -------------------------------------------------------------------------


def _pair(
    torch: str | None,
    vision: str | None,
    wants: str,
    outcome: tuple[str, str] = ("", ""),
    pins: dict[str, str] | None = None,
) -> tuple[Finding, Finding]:
    installed = {name: version for name, version in (("torch", torch), ("torchvision", vision)) if version}
    needs = ["numpy", wants] if wants else []
    first, second = doctor.torch_pair(installed.get, needs, lambda: outcome, pins or {})
    assert (first.name, second.name) == ("torch", "torchvision")
    return first, second


@pytest.mark.parametrize("wants", ["torch==2.11.0", "torch (==2.11.0)", "torch (>=2.11.0)"])
def test_a_matching_pair(wants: str) -> None:
    torch, vision = _pair("2.11.0+cpu", "0.26.0+cpu", wants)
    assert torch.ok is True and vision.ok is True
    assert "matches torch 2.11.0+cpu" in vision.found


def test_the_trap_outside_a_checkout_is_cured_by_the_torch_that_torchvision_was_made_for() -> None:
    torch, vision = _pair("2.13.0+cpu", "0.26.0", "torch==2.11.0", ("torchvision", TRAP))
    assert torch.ok is True and vision.ok is False
    assert (
        "2.13.0+cpu" in vision.found and "0.26.0" in vision.found and "asks for torch==2.11.0" in vision.found
    )
    assert doctor.MISMATCH in vision.found and "compiled for another torch" in vision.found
    assert vision.cure.endswith('-m pip install --force-reinstall "torch==2.11.0" "torchvision==0.26.0"')


def test_the_trap_in_a_checkout_is_cured_by_its_pins() -> None:
    _, vision = _pair("2.13.0", "0.29.2", "torch>=2.12", ("torchvision", TRAP), PINS)
    assert vision.cure.endswith('-m pip install "torch==2.15.0" "torchvision==0.29.2"')
    # The pinned versions on paper, damaged in fact: pip must be made to write them anew.
    _, vision = _pair("2.15.0", "0.29.2", "torch>=2.14", ("torchvision", TRAP), PINS)
    assert "--force-reinstall --no-deps" in vision.cure


def test_a_range_is_cured_by_its_oldest_torch_exactly() -> None:
    _, vision = _pair("2.13.0", "0.29.2+cpu", "torch (>=2.14.0)", ("torchvision", TRAP))
    assert '"torch==2.14.0" "torchvision==0.29.2"' in vision.cure


def test_another_import_error_is_shown_as_it_is() -> None:
    _, vision = _pair("2.11.0", "0.26.0", "torch==2.11.0", ("torchvision", "ImportError: libjpeg is gone"))
    assert vision.ok is False and "ImportError: libjpeg is gone" in vision.found and vision.cure


def test_a_pair_that_works_against_its_own_metadata_is_a_warning() -> None:
    torch, vision = _pair("2.12.0", "0.26.0", "torch==2.11.0")
    assert torch.ok is True and vision.ok is None
    assert "though torchvision 0.26.0 asks for torch==2.11.0" in vision.found and vision.cure


def test_missing_ones() -> None:
    torch, vision = _pair(None, None, "", pins=PINS)
    assert torch.ok is False and vision.ok is False and torch.found == "not installed"
    assert '"torch==2.15.0" "torchvision==0.29.2"' in torch.cure
    torch, vision = _pair("2.15.0", None, "", pins=PINS)
    assert torch.ok is True and vision.ok is False and vision.found == "not installed"
    torch, vision = _pair(None, "0.29.2", "torch>=2.14.0")
    assert torch.ok is False and '"torch==2.14.0" "torchvision==0.29.2"' in torch.cure
    torch, vision = _pair(None, None, "")
    assert torch.cure.endswith("-m pip install --upgrade --force-reinstall torch torchvision")


def test_a_torch_that_can_not_be_imported() -> None:
    torch, vision = _pair("2.15.0", "0.29.2", "torch>=2.14.0", ("torch", "OSError: libgomp.so.1"), PINS)
    assert torch.ok is False and "OSError: libgomp.so.1" in torch.found and torch.cure
    assert vision.ok is None
    torch, vision = _pair("2.15.0", None, "", ("torch", "OSError: libgomp.so.1"), PINS)
    assert torch.ok is False and vision.ok is False


def test_a_pair_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*args: object, **kwargs: object) -> None:
        raise subprocess.TimeoutExpired("python", 300)

    monkeypatch.setattr(subprocess, "run", hang)
    assert doctor._import_both() == ("torch", "no answer within 300 seconds")


def test_pins_are_read_from_the_checkout() -> None:
    pins = doctor._pins()
    assert set(pins) == {"torch", "torchvision"}
    text = (ROOT / "constraints.txt").read_text()
    assert f"\ntorch=={pins['torch']}\n" in text and f"\ntorchvision=={pins['torchvision']}\n" in text


# -- the others -----------------------------------------------------------------------------------


def test_python_too_old() -> None:
    (old,) = doctor.python((3, 10, 14))
    assert old.ok is False and "3.10.14" in old.found and "3.11" in old.cure
    assert doctor.python((3, 11, 0))[0].ok is True
    assert doctor.python((3, 13, 1))[0].ok is True


def test_packages_missing_or_too_old() -> None:
    needs = [
        "tqdm>=4.66",
        "psutil>=5.9",
        "torch>=99",
        "ruff>=0.9; extra == 'test'",
        "pywin32; sys_platform == 'none'",
    ]
    (finding,) = doctor.packages(needs, _versions(psutil="5.8.0"))
    assert finding.ok is False
    assert finding.found == "tqdm is missing; psutil 5.8.0, wanted >=5.9"
    assert finding.cure.endswith('pip install "tqdm>=4.66" "psutil>=5.9"')
    (finding,) = doctor.packages(needs, _versions(psutil="5.9.1", tqdm="4.70.0"))
    assert finding.ok is True and finding.found == "all 2 that kdcourse asks for"


def test_packages_of_a_kdcourse_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> list[str]:
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "requires", gone)
    (finding,) = doctor.packages()
    assert finding.ok is None and "-e . -c constraints.txt" in finding.cure
    assert doctor._requires("torchvision") == []


def test_without_a_checkout_the_repository_is_what_pip_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor._install().endswith("-m pip install -e . -c constraints.txt")
    assert str(ROOT) in doctor._install()
    monkeypatch.setattr(doctor, "CHECKOUT", tmp_path)
    assert doctor._pins() == {}
    metadata = Message()
    metadata["Project-URL"] = "Repository, https://example.org/somewhere"
    monkeypatch.setattr(doctor.importlib.metadata, "metadata", lambda name: metadata)
    assert doctor._install().endswith('-m pip install "kdcourse @ git+https://example.org/somewhere"')


def test_device_names_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    (finding,) = doctor.device()
    assert finding.ok is True and "processor cores used" in finding.found
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    assert "CUDA: GPU 0, GPU 1" in doctor.device()[0].found
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert "MPS" in doctor.device()[0].found


def test_precision_names_what_training_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDCOURSE_PRECISION", "bfloat16")
    (finding,) = doctor.precision(lambda where: {"float32": 0.020, "bfloat16": 0.0125})
    assert finding.ok is True
    assert (
        finding.found.startswith("bfloat16 on cpu") and "bfloat16 12.50 ms, float32 20.00 ms" in finding.found
    )
    monkeypatch.setenv("KDCOURSE_PRECISION", "float32")
    assert doctor.precision(lambda where: {"float32": 1.0, "bfloat16": 2.0})[0].found.startswith("float32 on")


def test_data_damaged_and_missing() -> None:
    files = [Path("a.gz"), Path("b.gz"), Path("c.gz")]
    whole, damaged, missing = (
        (files[0], True, "11", "11"),
        (files[1], False, "22", "33"),
        (files[2], False, "44", "missing"),
    )
    assert doctor.data(lambda: [whole])[0].ok is True
    first, second = doctor.data(lambda: [whole, damaged, missing])
    assert (
        first.ok is False
        and first.found == "b.gz: SHA-256 should be 22, found 33"
        and "git checkout" in first.cure
    )
    assert second.ok is None and "1 of 3 files" in second.found and "c.gz" in second.found
    assert "KDCOURSE_DATA" in second.cure


def test_a_changed_byte_in_the_real_data_is_found(tmp_path: Path) -> None:
    """Doctor's data check on `verify` itself, over a copy of the smallest published file."""
    from kdcourse.data import fashion

    raw = tmp_path / "FashionMNIST" / "raw"
    shutil.copytree(ROOT / "data" / "FashionMNIST" / "raw", raw)
    file = raw / "t10k-labels-idx1-ubyte.gz"
    content = bytearray(file.read_bytes())
    content[2000] ^= 1
    file.write_bytes(content)
    (finding,) = doctor.data(lambda: fashion.verify(tmp_path))
    assert finding.ok is False and file.name in finding.found and finding.cure


def test_teachers(tmp_path: Path) -> None:
    (absent,) = doctor.teachers(tmp_path)
    assert absent.ok is None and "--teachers train" in absent.cure

    weights = tmp_path / "teacher_1.safetensors"
    weights.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    sums = tmp_path / "SHA256SUMS"
    (tmp_path / "teacher_2.safetensors").write_bytes(b"weights")
    sums.write_text(f"{digest}  teacher_1.safetensors\n\n{digest} *teacher_2.safetensors\n")
    (well,) = doctor.teachers(tmp_path)
    assert well.ok is True and well.found == "2 files, checksums agree"

    weights.write_bytes(b"Weights")
    other = hashlib.sha256(b"Weights").hexdigest()
    sums.write_text(f"{digest}  teacher_1.safetensors\n{digest}  teacher_3.safetensors\n")
    changed, gone = doctor.teachers(tmp_path)
    assert {changed.ok, gone.ok} == {False}
    assert changed.found == f"teacher_1.safetensors: SHA-256 should be {digest}, found {other}"
    assert gone.found.endswith("found no file")
    assert "git checkout -- data/teachers" in changed.cure

    sums.write_text(f"{digest}  teacher_2.safetensors\nnonsense\n")
    (nonsense,) = doctor.teachers(tmp_path)
    assert nonsense.ok is False and "line 2" in nonsense.found and "'nonsense'" in nonsense.found
    assert "git checkout -- data/teachers" in nonsense.cure

    sums.write_text("")
    assert doctor.teachers(tmp_path)[0].ok is False


def test_jupyter_is_a_warning_only() -> None:
    notebooks, widgets = doctor.jupyter(_versions())
    assert notebooks.ok is None and notebooks.cure.endswith("pip install jupyterlab")
    assert widgets.ok is None and widgets.cure.endswith('pip install "ipywidgets>=7.7.1"')
    notebooks, widgets = doctor.jupyter(_versions(ipykernel="6.17.1", ipywidgets="7.7.1"))
    assert notebooks.ok is True and widgets.ok is True
    assert doctor.jupyter(_versions(jupyterlab="4.6.6", ipykernel="7.4"))[0].found == "jupyterlab 4.6.6"
    old = doctor.jupyter(_versions(ipywidgets="7.6.5"))[1]
    assert old.ok is None and "7.6.5 is older than 7.7.1" in old.found
    assert doctor.jupyter(_versions(ipywidgets="8.1"))[1].ok is True


def test_little_disk(tmp_path: Path) -> None:
    here, cache = tmp_path, tmp_path / "not" / "yet" / "made"
    free = {here: 40_000_000_000, cache: 999_000_000}
    (finding,) = doctor.disk([here, cache], free.__getitem__)
    # The cache does not exist yet: its nearest parent is asked, which has room.
    assert finding.ok is True
    cache.mkdir(parents=True)
    (finding,) = doctor.disk([here, cache], free.__getitem__)
    assert (
        finding.ok is False
        and str(cache) in finding.found
        and "1.0 GB free" in finding.found
        and finding.cure
    )


def test_little_memory() -> None:
    assert doctor.memory(2.0e9)[0].ok is True
    tight = doctor.memory(1.9e9)[0]
    assert tight.ok is None and "1.9 GB free, 2 GB needed" in tight.found and tight.cure
    assert doctor.memory(0.9e9)[0].ok is False


@pytest.mark.parametrize(
    ("limit", "used", "stat"),
    [
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ],
)
def test_a_container_has_less_memory_than_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, used: str, stat: str
) -> None:
    assert doctor._container_memory(tmp_path) is None
    (tmp_path / limit).parent.mkdir(exist_ok=True)
    (tmp_path / limit).write_text("2000000000\n")
    (tmp_path / used).write_text("1500000000\n")
    key = "inactive_file" if limit == "memory.max" else "total_inactive_file"
    (tmp_path / stat).write_text(f"anon 5\n{key} 100000000\nactive_file 7\n")
    assert doctor._container_memory(tmp_path) == 600_000_000
    (tmp_path / limit).write_text("max\n")
    assert doctor._container_memory(tmp_path) is None
    monkeypatch.setattr(doctor, "_container_memory", lambda: 6e8)
    assert doctor.memory()[0].ok is False


# -- what the doctor fixes ------------------------------------------------------------------------


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that fixes would run; none is run."""
    run: list[list[str]] = []

    def record(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        run.append(list(command))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", record)
    return run


def _fix(name: str, log: list[str], error: str = "") -> Fix:
    def do() -> str:
        log.append(name)
        if error:
            raise RuntimeError(error)
        return f"{name} is there"

    return Fix(f"make {name}", do)


def test_the_report_offers_each_fix_once_and_only_where_something_is_wrong() -> None:
    same = _fix("torch", []), _fix("torch", [])
    findings = [
        Finding("torch", False, "gone", "install it", same[0]),
        Finding("torchvision", None, "gone", "install it", same[1]),
        Finding("data", True, "fine", "", _fix("data", [])),
    ]
    assert doctor.report(findings).splitlines()[-2:] == [
        "`kdcourse doctor --fix` will:",
        "  - make torch",
    ]
    assert "--fix" not in doctor.report(findings[2:])


def test_one_fix_that_fails_does_not_keep_others_from_being_tried() -> None:
    log, said = list[str](), list[str]()
    findings = [
        Finding(name, False, "gone", "", _fix(name, log, "no space" * (name == "b"))) for name in "abc"
    ]
    assert not doctor.repair(findings, said.append)
    assert log == ["a", "b", "c"]
    assert said[:4] == ["Fixing: make a", "  done: a is there", "Fixing: make b", "  failed: no space"]
    assert doctor.repair(findings[:1], said.append)


def test_a_visit_fixes_only_on_request_and_checks_again_in_a_new_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    log, said = list[str](), list[str]()
    finding = Finding("kernel", False, "gone", "install it", _fix("kernel", log))
    monkeypatch.setattr(doctor, "checks", lambda folder: [finding])
    assert doctor.visit(tmp_path, say=said.append) == 1 and log == [] == commands
    assert doctor.visit(tmp_path, fix=True, say=said.append) == 0 and log == ["kernel"]
    assert commands == [[sys.executable, "-m", "kdcourse.doctor", "--notebooks", str(tmp_path)]]
    monkeypatch.setattr(doctor, "checks", lambda folder: [Finding("memory", False, "full", "empty it")])
    assert doctor.visit(fix=True, say=said.append) == 1
    assert said[-1] == "There is nothing that the doctor can fix." and len(commands) == 1


def test_missing_packages_are_installed_by_pip_or_by_uv_where_there_is_no_pip(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    (finding,) = doctor.packages(["typer>=0.16", "tqdm>=4"], _versions(tqdm="4.67"))
    assert finding.fix is not None and finding.fix.do() == 'installed "typer>=0.16"'
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    broken = doctor.torch_pair(_versions(torch="2.15.0"), wants=[], imported=lambda: ("", ""), pins=PINS)[
        1
    ].fix
    again = doctor._pip_fix("--force-reinstall --no-deps torch")
    assert broken is not None and broken.do() and again.do()
    assert commands == [
        [sys.executable, "-m", "pip", "install", "typer>=0.16"],
        ["/bin/uv", "pip", "install", "--python", sys.executable, "torch==2.15.0", "torchvision==0.29.2"],
        ["/bin/uv", "pip", "install", "--python", sys.executable, "--reinstall", "--no-deps", "torch"],
    ]


def test_what_a_failed_command_said_is_passed_on() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended with status 3:.*no such package"):
        doctor._run(
            [sys.executable, "-c", "import sys; print('no such package', file=sys.stderr); sys.exit(3)"]
        )
    with pytest.raises(RuntimeError, match="no-such-program can't be started"):
        doctor._run(["no-such-program"])


@pytest.mark.skipif(shutil.which("git") is None, reason="git not installed")
def test_in_a_clone_damaged_files_come_back_from_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(doctor, "CHECKOUT", tmp_path.resolve())
    folder = tmp_path.resolve() / "data" / "teachers"
    folder.mkdir(parents=True)
    file = folder / "teacher.safetensors"
    file.write_text("weights")
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(b'weights').hexdigest()}  {file.name}\n")
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    file.write_text("damaged")
    (finding,) = doctor.teachers(folder)
    assert (
        finding.ok is False and finding.fix is not None and finding.fix.words == f"restore {folder} from git"
    )
    finding.fix.do()
    assert file.read_text() == "weights" and doctor.teachers(folder)[0].ok
    file.unlink()
    (finding,) = doctor.data(lambda: [(file, False, "aa", "bb")])
    assert finding.fix is not None and finding.fix.do() == f"git has restored {file}"
    assert file.read_text() == "weights"


def test_elsewhere_damaged_teachers_come_with_the_package_again(
    tmp_path: Path, commands: list[list[str]]
) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  gone\n")
    (finding,) = doctor.teachers(tmp_path)
    assert finding.fix is not None and finding.fix.do()
    assert commands[0][-3:-1] == ["--force-reinstall", "--no-deps"] and "kdcourse" in commands[0][-1]


def test_a_damaged_file_of_images_is_kept_until_the_new_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "images.gz"
    file.write_text("damaged")
    (finding,) = doctor.data(lambda: [(file, False, "aa", "bb")])
    assert finding.fix is not None

    def offline() -> str:
        raise RuntimeError("no network")

    monkeypatch.setattr(doctor, "_load_images", offline)
    with pytest.raises(RuntimeError, match="no network"):
        finding.fix.do()
    aside = tmp_path / "images.gz.damaged"
    assert not file.exists() and aside.read_text() == "damaged"
    file.write_text("damaged")
    monkeypatch.setattr(doctor, "_load_images", lambda: file.write_text("whole") and "55,000 images")
    assert finding.fix.do() == "55,000 images"
    assert file.read_text() == "whole" and not aside.exists()


def test_missing_images_are_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = doctor.data(lambda: [(Path("x"), False, "aa", "missing")])
    assert finding.ok is None and finding.fix is not None and "31 MB" in finding.fix.words
    monkeypatch.setattr("kdcourse.data.fashion_mnist", lambda: SimpleNamespace(train=range(55_000)))
    assert finding.fix.do() == "55,000 training images are there"


@pytest.mark.parametrize(
    ("program", "ok", "said"),
    [
        (sys.executable, True, "runs this Python"),
        ("python3.11", True, "runs this Python"),
        ("/gone/bin/python", None, "runs /gone/bin/python, which isn't there"),
        (shutil.which("git") or sys.executable, None, "where kdcourse may be missing"),
    ],
)
def test_the_kernel_of_the_lessons_is_this_python(
    program: str, ok: bool | None, said: str, commands: list[list[str]]
) -> None:
    (finding,) = doctor.kernel(lambda: [program, "-m", "ipykernel_launcher"])
    assert finding.ok is ok and said in finding.found
    if ok is None:
        assert finding.fix is not None and finding.fix.do() == f"python3 runs {sys.executable}"
        assert commands[0][:4] == [sys.executable, "-m", "ipykernel", "install"] and "python3" in commands[0]


def test_a_kernel_that_is_missing_is_installed(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    def none() -> list[str]:
        raise KeyError("No such kernel named python3")

    (finding,) = doctor.kernel(none)
    assert finding.ok is None and "No such kernel" in finding.found and finding.fix is not None
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    (finding,) = doctor.kernel()
    assert finding.ok is None and finding.fix is not None and finding.fix.do()
    assert commands == [[sys.executable, "-m", "pip", "install", "ipykernel"]]


def test_lessons_that_cannot_be_read_or_are_old_are_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finding,) = doctor.own_lessons(tmp_path / "none")
    assert finding.ok is True and not (tmp_path / "none").exists()
    names, forms = ("00_a.ipynb", "01_b.ipynb", "02_c.ipynb"), [tmp_path / "first", tmp_path / "second"]
    for folder, words in zip(forms, ("one", "two"), strict=True):
        folder.mkdir()
        for name in names:
            (folder / name).write_text(lessons.stamped(f'{{"cells": ["{words}"], "version": ""}}'))
    mine = tmp_path / "mine"
    lessons.hand_out(mine, forms[0])
    monkeypatch.setattr(lessons, "forms", lambda: forms[1])
    (mine / names[0]).write_text('{"cells": [')
    (mine / names[1]).write_text((mine / names[1]).read_text().replace("one", "my work"))
    damaged, old = doctor.own_lessons(mine)
    assert "00_a.ipynb can't be read" in damaged.found and "01_b.ipynb is of an earlier version" in old.found
    assert damaged.fix is not None and damaged.fix.do() == "yours is 00_a_before.ipynb"
    assert old.fix is not None and old.fix.do() == "yours is 01_b_before.ipynb"
    assert (mine / "00_a_before.ipynb").read_text() == '{"cells": ['
    assert "my work" in (mine / "01_b_before.ipynb").read_text()
    assert (mine / names[1]).read_bytes() == (forms[1] / names[1]).read_bytes()
    assert [finding.ok for finding in doctor.own_lessons(mine)] == [True]


def test_damaged_and_incomplete_files_of_the_cache_are_deleted_and_no_others(tmp_path: Path) -> None:
    kept = tmp_path / "soft-targets"
    kept.mkdir()
    whole = kept / "whole.npy"
    whole.write_bytes(b"table" + hashlib.sha256(b"table").digest())
    (kept / "damaged.npy").write_bytes(b"tablf" + hashlib.sha256(b"table").digest())
    (kept / "cut.npy").write_bytes(b"ta")
    for name in ("given_up.gz.part", "under_way.gz.part", "mine.npy"):
        (tmp_path / name).write_bytes(b"x")
    os.utime(tmp_path / "given_up.gz.part", (0, 0))
    (finding,) = doctor.cache([tmp_path, tmp_path])
    assert finding.ok is None and "3 of 6 files" in finding.found and finding.fix is not None
    assert finding.fix.do().startswith("deleted 3 files")
    assert {file.name for file in tmp_path.rglob("*") if file.is_file()} == {
        "whole.npy",
        "under_way.gz.part",
        "mine.npy",
    }
    assert doctor.cache([tmp_path, tmp_path / "gone"])[0].ok
