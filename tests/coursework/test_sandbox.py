"""Hostile answers earn no more than their honest part and harm nothing; honest ones are seen as without a sandbox."""

from __future__ import annotations

import mmap
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kdcourse.checks import judge, observe, varied
from kdcourse.checks.outcomes import Foreign, Observed
from kdcourse.course import exercise
from kdcourse.coursework.records import Answer
from kdcourse.coursework.sandbox import Limits, Lost, Sandbox, available, worker
from kdcourse.coursework.sandbox import sandbox as sandboxed
from kdcourse.coursework.sandbox.messages import MessageError, decode, encode
from kdcourse.coursework.sandbox.sandbox import rebuilt
from kdcourse.errors import CourseworkError
from tests.coursework.hostile import HOSTILE, Hostile

SOFT = "softened_probabilities"
HONEST = f"def {SOFT}(logits, temperature):\n    return (logits / temperature).softmax(1)\n"
SEED = 5
LIMITS = Limits(seconds=1.0, memory=2**29, processes=16, file_bytes=2**20, returned_bytes=2**20)

confined = pytest.mark.skipif(bool(available()), reason=available() or "-")


def answer(source: str, name: str = SOFT) -> Answer:
    return Answer(name, "id", (source,), name)


def seen(sandbox: Sandbox, source: str, name: str = SOFT) -> Observed | Lost:
    return sandbox.observe([answer(source, name)], {name: varied(exercise(name), SEED)})[name]


def right(what: Observed | Lost, name: str = SOFT) -> bool:
    return isinstance(what, Observed) and judge(varied(exercise(name), SEED), what).right


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(limits=LIMITS) as opened:
        assert right(seen(opened, HONEST))
        yield opened


@pytest.fixture(scope="module")
def victims(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """What somebody would like to read or overwrite, near and far."""
    name = f"kdcourse_victim_{os.getpid()}.db"  # several processes run these tests at once
    found = [tmp_path_factory.mktemp("class") / name, Path("/tmp") / name]
    for path in found:
        path.write_text("grades")
    yield found
    for path in found:
        path.unlink()


@pytest.fixture(scope="module")
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


# -- hostile ------------------------------------------------------------------------------------


@pytest.mark.slow
@confined
@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda one: one.name)
def test_it_earns_no_more_than_its_honest_part_and_harms_nothing(
    hostile: Hostile, sandbox: Sandbox, victims: list[Path], listening: socket.socket
) -> None:
    serving = sandbox._process
    source = hostile.aimed(victims[0].name, listening.getsockname()[1])
    found = seen(sandbox, source, hostile.exercise)
    assert sandbox._process is serving is not None and serving.poll() is None
    assert not right(found, hostile.exercise) or hostile.honest
    if isinstance(found, Observed):
        verdict = judge(varied(exercise(hostile.exercise), SEED), found)
        assert verdict.message.replace("\n", "").isprintable()
    else:
        assert found.reason[0].islower() and found.reason[-1] in ".?"
    assert [path.read_text() for path in victims] == ["grades", "grades"]
    assert not list(Path("/tmp").glob("kdcourse_filler_*"))
    with pytest.raises(BlockingIOError):
        listening.accept()
    assert left_over(sandbox) == []


def test_they_are_python_and_each_attempts_something_of_its_own() -> None:
    for hostile in HOSTILE:
        compile(hostile.source, hostile.name, "exec")
        assert f"def {hostile.exercise}(" in hostile.source
    assert len({hostile.name for hostile in HOSTILE}) == len(HOSTILE) > 30
    aimed = {hostile.name for hostile in HOSTILE if hostile.aimed("other.db", 9) != hostile.source}
    assert aimed == {"search of the file system", "gradebook writer", "telephone"}


def left_over(sandbox: Sandbox) -> list[str]:
    """Command lines of the sandbox's processes, those left aside that it consists of."""
    if sandbox._process is None:
        return []
    found = []
    for one in worker._descendants(sandbox._process.pid):
        line = Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        found += [] if line.startswith("bwrap ") or "kdcourse.coursework.sandbox.worker" in line else [line]
    below = worker._descendants(sandbox._process.pid)
    return found or [f"{len(below)} processes"] * (len(below) > 2)


@pytest.mark.slow
@confined
def test_after_all_of_them_honest_answers_are_right_and_told_as_outside(sandbox: Sandbox) -> None:
    for source in (
        HONEST,
        HONEST.replace("/ temperature", "* temperature"),
        HONEST.replace("softmax(1)", "softmax(1).flatten()"),
        HONEST.replace("softmax", "softmin_"),
        HONEST.replace("(1)", "(1).long()"),
        f"def {SOFT}(logits):\n    return logits\n",
        f"def {SOFT}(logits, temperature):\n    return ...\n",
        f"import torch\n\ndef {SOFT}(logits, temperature):\n    return torch.rand_like(logits)\n",
        f"def {SOFT}(logits, temperature):\n    logits /= temperature\n    return logits.softmax(1)\n",
    ):
        scope: dict[str, Any] = {}
        exec(source, scope)
        asked = varied(exercise(SOFT), SEED)
        outside = judge(asked, observe(asked, scope[SOFT]))
        inside = judge(asked, seen(sandbox, source))
        assert (inside.right, inside.attempted, inside.mistake) == (
            outside.right,
            outside.attempted,
            outside.mistake,
        )
    assert right(seen(sandbox, HONEST))


@confined
@pytest.mark.parametrize(
    "name", ["validation_accuracy", "distil_step", "pixel_term", "count_parameters", "diagnose"]
)
def test_models_are_played_inside(name: str, sandbox: Sandbox) -> None:
    sources = {
        "count_parameters": "def count_parameters(m):\n    return sum(p.numel() for p in m.parameters())\n",
        "validation_accuracy": (
            "import torch\n\ndef validation_accuracy(m, x, y):\n    was = m.training\n    m.eval()\n"
            "    with torch.no_grad():\n        z = m(x)\n    m.train(was)\n"
            "    return (z.argmax(1) == y).float().mean().item()\n"
        ),
        "distil_step": (
            "import torch\nfrom kdcourse.distillation import hinton_loss\n\n"
            "def distil_step(s, t, x, y, o, temperature, alpha):\n    s.train()\n    t.eval()\n"
            "    with torch.no_grad():\n        v = t(x)\n"
            "    loss = hinton_loss(s(x), v, y, temperature=temperature, alpha=alpha)\n"
            "    o.zero_grad()\n    loss.backward()\n    o.step()\n    return loss.item()\n"
        ),
        "pixel_term": (
            "def pixel_term(z, v, m, t):\n    q, p = (z / t).log_softmax(1), (v.detach() / t).log_softmax(1)\n"
            "    return t * t * (p.exp() * (p - q)).sum(1)[m != 255].mean()\n"
        ),
        "diagnose": (
            "def diagnose(t, v):\n    b = v.index(min(v))\n    if v[-1] >= 1.1 * v[b] and t[-1] < t[b]:\n"
            "        return 'overfitting'\n    return 'underfitting' if t[-1] > 0.9 * t[0] else 'fits'\n"
        ),
    }  # fmt: skip
    assert right(seen(sandbox, sources[name], name), name)


@confined
def test_an_answer_sees_neither_solutions_nor_the_checkout_nor_others(sandbox: Sandbox) -> None:
    look = """
import os, sys
from pathlib import Path
import kdcourse
package = Path(kdcourse.__file__).parent

def writable(folder):
    try:
        (Path(folder) / "kdcourse_trace").write_text("x")
    except OSError:
        return False
    return True

seen = [
    sorted({one.name for one in (package / "course").rglob("*") if one.is_file()}),
    sorted(one.name for one in (package / "coursework" / "sandbox").iterdir() if one.is_file()),
    [str(one) for one in PLACES if os.path.exists(one)],
    os.listdir("/proc"), os.listdir("."), os.getpid(),
    [one for one in ("/", "/usr", str(package), "/dev", "/dev/shm", "/proc", "/tmp", sys.prefix, ".") if writable(one)],
    sorted(os.environ),
]
raise SystemExit("|".join(map(str, seen)))
"""
    places = [str(Path(__file__).resolve()), str(Path.cwd() / "pyproject.toml"), str(Path.cwd() / "kdcourse")]
    found = seen(sandbox, look.replace("PLACES", repr(places)) + HONEST)
    assert isinstance(found, Lost) and found.kind == "broken"
    lessons, files, checkout, processes, folder, number, places_to_write, environment = found.reason.split(
        ": ", 2
    )[2].split("|")
    assert (lessons, files, checkout) == ("['fixtures.py']", "['messages.py', 'worker.py']", "[]")
    assert (processes, folder, number) == ("[]", "[]", "1")
    assert places_to_write == "['/proc', '.']"  # an empty folder in memory in the place of /proc
    assert "HOME" in environment and "TOKEN" not in environment


@confined
def test_nothing_of_a_request_stays_where_the_next_answer_could_find_it(sandbox: Sandbox) -> None:
    # As four attempts did that solved nothing: memory that was given back still holds what was in it.
    earlier = f"# {'solution' * 500}\n{HONEST}"
    look = """
import ctypes, os, sys
found, backwards = [], "noitulos" * 20  # as it is not in this source itself
libc, (reader, writer) = ctypes.CDLL(None), os.pipe()
near = id(bytes(5_000)) >> 12
for page in range(near - 60_000, near + 2_000):  # where there is no memory, write fails
    if libc.write(writer, ctypes.c_void_p(page << 12), 4096) == 4096:
        if backwards.encode() in os.read(reader, 4096)[::-1]:
            found.append("memory")
            break
frame = sys._getframe()
while frame is not None:
    found += [name for name, value in frame.f_locals.items() if backwards in str(value)[::-1]]
    frame = frame.f_back
raise SystemExit(str(found))
"""
    for _ in range(2):
        assert right(seen(sandbox, earlier))
        found = seen(sandbox, look + HONEST)
        assert isinstance(found, Lost) and found.reason.endswith("SystemExit: []."), found


@pytest.mark.slow
@confined
def test_a_request_that_was_not_read_to_its_end_is_read_by_nobody(sandbox: Sandbox) -> None:
    assert right(seen(sandbox, HONEST))
    process = sandbox._process
    assert process is not None and process.stdin is not None
    process.stdin.write((3).to_bytes(8, "big") + b"KD1\n and more")
    assert isinstance(seen(sandbox, HONEST), Lost) and sandbox._process is None
    assert right(seen(sandbox, HONEST))


@confined
def test_modules_of_the_students_own_are_imported(sandbox: Sandbox) -> None:
    source = "import helpers\n\n" + HONEST.replace("/ temperature", "/ helpers.same(temperature)")
    modules = (("deeper", "def same(x):\n    return x"), ("helpers", "from deeper import same"))
    given = Answer(SOFT, "id", (source,), SOFT, modules=modules)
    found = sandbox.observe([given], {SOFT: varied(exercise(SOFT), SEED)})[SOFT]
    assert right(found)
    assert isinstance(seen(sandbox, source), Lost)


@confined
def test_the_last_definition_tells_whether_a_blank_is_left(sandbox: Sandbox) -> None:
    blank = f"def {SOFT}(logits, temperature):\n    scaled = ...\n    return scaled.softmax(1)\n"
    found = seen(sandbox, blank)
    assert isinstance(found, Observed) and found.blank
    assert not judge(exercise(SOFT), found).attempted
    other = sandbox.observe(
        [Answer(SOFT, "id", (blank, HONEST), SOFT)], {SOFT: varied(exercise(SOFT), SEED)}
    )[SOFT]
    assert isinstance(other, Observed) and not other.blank and right(other)


@pytest.mark.slow
@confined
def test_a_sandbox_that_was_ended_starts_again() -> None:
    with Sandbox(limits=LIMITS) as opened:
        assert right(seen(opened, HONEST))
        folder, process = opened._folder, opened._process
        assert process is not None and folder is not None
        process.kill()
        process.wait()
        assert seen(opened, HONEST) == Lost("died", "it ended the Python process that ran it.")
        assert right(seen(opened, HONEST))
    assert not folder.exists() and opened._process is None


# -- limits that the zygote itself keeps --------------------------------------------------------


def watched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, report: Any, **bounds: Any) -> str:
    """What becomes of ``report`` where nothing but the zygote's own watching holds it."""
    monkeypatch.setattr(worker, "_limit", lambda *given, **named: None)
    monkeypatch.setattr(worker, "_filter_calls", lambda: None)
    limits = worker.Bounds(
        **{"seconds": 0.5, "memory": 2**30, "processes": 8, "file_bytes": 1, "returned": 100, **bounds}
    )
    with mmap.mmap(-1, 101) as buffer:
        return worker._run_guarded(report, limits, "none", str(tmp_path), buffer)[0]


def sleepers() -> bytes:
    for _ in range(20):
        if os.fork() == 0:
            os.setsid()
            time.sleep(60)
            os._exit(0)
    return b"done"


def hoard() -> bytes:
    kept = bytearray(2**27)
    kept[:] = b"x" * len(kept)
    time.sleep(60)
    return bytes(kept[:1])


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize(
    ("report", "bounds", "status"),
    [
        (sleepers, {}, "processes"),
        (hoard, {"memory": 2**26, "seconds": 30.0}, "memory"),
        (lambda: time.sleep(60), {"seconds": -1.5}, "time"),
        (lambda: b"x" * 101, {}, "output"),
        (lambda: os._exit(3), {}, "died"),
        (lambda: b"x" * 100, {}, "done"),
    ],
)
def test_the_zygote_ends_what_takes_too_much(
    report: Any, bounds: dict[str, Any], status: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = set(worker._descendants(os.getpid()))
    assert watched(monkeypatch, tmp_path, report, **bounds) == status
    assert set(worker._descendants(os.getpid())) <= before


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_kernel_that_refuses_is_no_fault_of_the_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse() -> None:
        raise OSError(28, "unshare")

    monkeypatch.setattr(worker, "_unshare", refuse)
    limits = worker.Bounds(0.5, 2**30, 8, 1, 100)
    with mmap.mmap(-1, 101) as buffer:
        assert worker._run_guarded(bytes, limits, "nested", str(tmp_path), buffer)[0] == "refused"
    opened = Sandbox(limits=LIMITS)
    monkeypatch.setattr(opened, "_process", object())
    monkeypatch.setattr(opened, "_exchange", lambda request: ("refused", b""))
    with pytest.raises(CourseworkError, match="namespace"):
        seen(opened, HONEST)


@confined
@pytest.mark.parametrize("inside", [False, True], ids=["beside Python's", "around Python's"])
def test_a_virtual_environment_that_is_the_course_folder_shows_nothing_of_it(
    inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ["submissions/ann/04.ipynb", "dist/week/assignment.json", "lib/graded/gradebook.db", "notes.txt"]
    for name in [*files, "lib/python3/site.py", "pyvenv.cfg"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    private = [tmp_path / "submissions", tmp_path / "lib/graded", tmp_path / "lib/graded/gradebook.db"]
    if inside:  # as everything below /usr is shown
        monkeypatch.setattr("kdcourse.coursework.sandbox.sandbox._python", lambda: [str(tmp_path)])
        private = [tmp_path / name for name in ("submissions", "dist", "lib/graded", "notes.txt")]
    show = f"find {tmp_path} -type f -exec cat {{}} +"
    command = [*sandboxed._bubblewrap((), private), "/usr/bin/env", "-i", "/bin/sh", "-c", show]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert sorted(said.stdout.split()[2::3]) == ["lib/python3/site.py", "pyvenv.cfg"], said


# -- where there is no sandbox ------------------------------------------------------------------


@pytest.fixture
def nothing_remembered() -> Iterator[None]:
    available.cache_clear()
    yield
    available.cache_clear()


@pytest.mark.parametrize("lacking", ["bwrap", "linux", "rights"])
def test_it_refuses_and_says_why(
    lacking: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nothing_remembered: None
) -> None:
    if lacking == "bwrap":
        monkeypatch.setattr(shutil, "which", lambda name: None)
    elif lacking == "linux":
        monkeypatch.setattr(sys, "platform", "darwin")
    else:
        (tmp_path / "bwrap").write_text(
            "#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n"
        )
        (tmp_path / "bwrap").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    says = {
        "bwrap": "install the package bubblewrap",
        "linux": "needs Linux",
        "rights": "No permissions to create",
    }
    assert says[lacking] in available()
    with pytest.raises(CourseworkError, match="--unsafe"), Sandbox():
        pass


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_unsafe_warns_and_does_the_same(monkeypatch: pytest.MonkeyPatch, nothing_remembered: None) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.warns(UserWarning, match="without a sandbox"), Sandbox(limits=LIMITS, unsafe=True) as opened:
        assert right(seen(opened, HONEST))
        assert not right(seen(opened, HONEST.replace("(1)", "(0)")))
        found = seen(opened, f"def {SOFT}(logits, temperature):\n    while True:\n        pass\n")
        assert isinstance(found, Observed) and found.stuck


# -- what comes back ----------------------------------------------------------------------------


def test_values_come_back_as_they_went() -> None:
    values = [
        None, True, 3, -(10**300), 0.1, float("inf"), -0.0, "x \u2713", ..., Foreign("object"), [], (), {"a": [1]},
        torch.arange(6).view(2, 3), torch.zeros(0, 4), torch.tensor(2.5, dtype=torch.bfloat16), torch.tensor([True]),
        torch.zeros(3, 2, dtype=torch.uint8).T, np.array([[1.5, float("nan")]]), np.arange(3, dtype=">i4"),
    ]  # fmt: skip
    back = decode(encode(values))
    assert [type(one) for one in back] == [type(one) for one in values]
    for one, other in zip(back, values, strict=True):
        if isinstance(other, torch.Tensor):
            assert one.dtype == other.dtype and torch.equal(one, other)
        elif isinstance(other, np.ndarray):
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other
    assert np.isnan(decode(encode(float("nan"))))
    foreign = [
        object(),
        torch.zeros(2, dtype=torch.complex64),
        torch.eye(2).to_sparse(),
        10**500,
        np.array(["x"]),
    ]
    assert all(isinstance(one, Foreign) for one in decode(encode(foreign)))


def test_no_bytes_are_more_than_a_wire_error() -> None:
    draw = random.Random(0)
    good = encode(
        {"outcomes": [{"parts": {"answer": torch.eye(3)}, "changed": [], "printed": ""}], "stuck": ""}
    )
    for _ in range(2_000):
        data = bytearray(good)
        for _ in range(draw.randint(1, 6)):
            at = draw.randrange(len(data))
            data[at : at + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 3))
        try:
            decode(bytes(data))
        except MessageError:
            continue
    deep = b"[" * 100_000
    for header in (deep, b"[1.5]", b"NaN", b'["int", "1e9"]', b'["tensor","float32",[1099511627776,0]]', b'{"a":1}',
                   b'["tensor","bool",[-1]]', b'["array","object",[1]]', b'["dict",["a"]]', b'"\\ud800"',
                   b'["tensor","float32",[4]]', b'["list",' + b"null," * 30_000 + b"null]"):  # fmt: skip
        with pytest.raises(MessageError):
            decode(b"KD1\n" + len(header).to_bytes(4, "big") + header)
    with pytest.raises(MessageError, match="left over"):
        decode(good + b"x")
    sneaky = decode(b"KD1\n" + (22).to_bytes(4, "big") + b'["tensor","bool",[3]] ' + b"\x00\x02\xff")
    assert sneaky.tolist() == [False, True, True] and sneaky.view(torch.uint8).max() == 1


def outcome(**parts: Any) -> dict[str, Any]:
    return {"parts": parts, "error": None, "changed": [], "printed": ""}


@pytest.mark.parametrize("name", ["validation_accuracy", "distil_step", "pixel_term", "distillation_term"])
def test_a_report_that_no_honest_answer_gives_is_lost_and_never_an_error_of_ours(name: str) -> None:
    asked = varied(exercise(name), SEED)
    honest = [dict(one.parts) for one in observe(asked, asked.solution).outcomes]

    def judged(change: Any, **other: Any) -> Observed | Lost:
        parts = [change(dict(one)) for one in honest]
        rounds = {"outcomes": [outcome(**one) for one in parts], "again": [outcome(**one) for one in parts]}
        report = encode({**rounds, "stuck": "", "misfit": "", **other})
        return rebuilt(report, answer("pass", name), asked)

    same = judged(lambda parts: parts)
    assert isinstance(same, Observed) and judge(asked, same).right
    for part in honest[0]:
        for value in (0, "train", [], torch.zeros(2), None, (torch.zeros(2),), ()):
            if part != "answer" and type(value) is not type(honest[0][part]):
                found = judged(lambda parts, part=part, value=value: {**parts, part: value})
                assert isinstance(found, Lost) or (value is None and not judge(asked, found).right)
        lacking = judged(lambda parts, part=part: {one: parts[one] for one in parts if one != part})
        assert lacking == Lost("forged", "what it returned is not the result of a function.")
    for other in ({"stuck": "maybe"}, {"outcomes": []}, {"again": []}, {"misfit": 3}, {"outcomes": [1]}):
        assert isinstance(judged(lambda parts: parts, **other), Lost)
    long = rebuilt(encode({"outcomes": [[0] * 30_000]}), answer("pass", name), asked)
    longer = rebuilt(encode({"outcomes": ["x" * 199_999] * 20}), answer("pass", name), asked)
    assert long == longer == Lost("output", "the values that it returns are far too large.")
    shouting = judged(lambda parts: parts, misfit="Right \u2713\x1b[2J\u202e\n<script>")
    assert isinstance(shouting, Observed)
    verdict = judge(asked, shouting)
    assert not verdict.right and "\x1b" not in verdict.message and "\u202e" not in verdict.message
