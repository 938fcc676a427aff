"""Of a notebook just what a function needs is run, and it runs."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kdcourse.coursework import slicing
from kdcourse.coursework.slicing import Statement, needed, parse, without_magics


def cut(*cells: str, name: str = "f", fallback: str = "", lessons: tuple[int, ...] = ()) -> list[Statement]:
    found = parse(enumerate(cells, start=1)).statements
    root = [statement for statement in found if name in statement.binds][-1]
    return needed(root, found, parse([(0, fallback)]).statements, lessons)


def run(pieces: list[Statement]) -> dict[str, Any]:
    space: dict[str, Any] = {}
    for piece in pieces:
        exec(compile(piece.text, "<piece>", "exec", dont_inherit=True), space)
    return space


def texts(pieces: list[Statement]) -> list[str]:
    return [piece.text for piece in pieces]


def test_only_what_is_named_is_taken_and_what_that_names_in_turn() -> None:
    pieces = cut(
        "import math, os\nfrom json import loads, dumps as to_text",
        "scale = 2\nunused = train_for_hours()",
        "def half(x):\n    return x / scale\n\ndef other():\n    return unused",
        "def f(x):\n    return half(math.sqrt(x)), to_text(x)",
        "print(f(4))\nplot(f)",
    )
    assert set(texts(pieces)) == {
        "import math",
        "from json import dumps as to_text",
        "scale = 2",
        "def half(x):\n    return x / scale",
        "def f(x):\n    return half(math.sqrt(x)), to_text(x)",
    }
    assert pieces[-1].text.startswith("def f")
    assert run(pieces)["f"](4) == (1.0, "4")


def test_names_of_its_own_draw_nothing_in() -> None:
    pieces = cut(
        "logits = load_everything()\nrows = [1]\nrows.append(2)\nk = heavy()",
        "def f(logits):\n    rows = []\n    rows.append(logits)\n    return [k for k in rows]",
    )
    assert len(pieces) == 1


def test_a_name_means_what_it_meant_when_the_function_was_checked() -> None:
    pieces = cut("a = 1", "a = 2", "def f():\n    return a", "a = 3")
    assert run(pieces)["f"]() == 2 and len(pieces) == 2
    assert run(cut("def f():\n    return a", "a = 3"))["f"]() == 3


def test_what_runs_at_once_comes_before_even_where_cells_were_moved() -> None:
    pieces = cut(
        "@twice\ndef f(x: Number = start) -> list[Number]:\n    return [x, later]",
        "start = make()",
        "def twice(g):\n    return lambda: g() + g()",
        "Number = int\nlater = 7",
        "def make():\n    return base + 1",
        "base = 1",
    )
    assert run(pieces)["f"]() == [2, 7, 2, 7]


def test_what_is_done_to_a_thing_comes_along() -> None:
    pieces = cut(
        "table = {}\ntable['a'] = 1\nother = {}\nother['b'] = 2",
        "for k in range(3):\n    table[k] = k * k",
        "table.update(c=3)\ntotal = 0\ntotal += 5\ntotal = total + 1",
        "def f():\n    return table, total",
        "table.clear()",
    )
    assert run(pieces)["f"]() == ({"a": 1, 0: 0, 1: 1, 2: 4, "c": 3}, 6)
    assert not any("other" in text for text in texts(pieces))


def test_libraries_are_taken_as_the_lesson_has_them() -> None:
    pieces = cut(
        "import os.path\nimport os\nos.sep = 'patched'\nfrom math import *",
        "def f():\n    return floor(2.5), os.path.basename('a/b')",
        lessons=(1,),
    )
    assert texts(pieces)[:-1] == ["from math import *", "import os.path", "import os"]
    assert run(pieces)["f"]() == (2, "b")


def test_a_statement_draws_in_nothing_for_names_that_it_binds_itself() -> None:
    lesson = "k = heavy()\nv = heavy()\nteacher = heavy()\nx = heavy()\nfile = heavy()\nerror = heavy()"
    pieces = cut(
        lesson,
        "opts = {}\nfor k, v in [('dim', 1)]:\n    opts[k] = v\nfor teacher in range(2):\n    opts[teacher] = teacher",
        "with open('/dev/null') as file:\n    opts['text'] = file.read()",
        "try:\n    x = int('3')\n    opts['x'] = x\nexcept ValueError as error:\n    opts['error'] = error",
        "if (n := 3) > 2:\n    opts['n'] = n",
        "def f():\n    return opts",
        lessons=(1,),
    )
    assert "heavy" not in "".join(texts(pieces))
    assert run(pieces)["f"]() == {"dim": 1, 0: 0, 1: 1, "text": "", "x": 3, "n": 3}


@pytest.mark.parametrize(
    "statement", ["total += 1", "total = total + 1", "for total in (total + 1,):\n    pass",
                  "if True:\n    total = total + 1", "total = [total + 1 for _ in '1'][0]"],
)  # fmt: skip
def test_what_a_statement_reads_before_it_binds_it_comes_along(statement: str) -> None:
    assert run(cut("total = 1", statement, "def f():\n    return total"))["f"]() == 2


def test_calls_that_may_change_what_is_needed_come_along_and_may_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(math, "tau", math.tau)  # what runs below changes it, for all of this process
    pieces = cut(
        "class Box:\n    def set(self, **named): self.__dict__.update(named)\nmodel = heavy()",
        "cfg = Box()\ncfg.set(dim=1)\ncfg.no_such_thing()\ncfg.set(model=model)",
        "def setup():\n    global scale\n    scale = cfg.dim + 1",
        "setup()",
        "import math\nmath.tau = 6\nmath.fancy()",
        "def f():\n    return cfg.dim, scale, math.tau",
        "f()\nprint(f())",
        lessons=(1,),
    )
    assert run(pieces)["f"]() == (1, 2, 6)
    assert not any("model" in text or "print" in text for text in texts(pieces))


def test_calls_in_a_lessons_own_cells_stay_out() -> None:
    pieces = cut(
        "import torch\nmodel = 3\ntorch.train(1)\nmodel.fit()", "def f():\n    return model", lessons=(1,)
    )
    assert texts(pieces) == ["model = 3", "def f():\n    return model"]


def test_what_the_notebook_lost_comes_from_the_lesson() -> None:
    lesson = "import math\nimport torch\nlimit = 3\ndef f():\n    ..."
    assert run(cut("def f():\n    return math.floor(2.5)", fallback=lesson))["f"]() == 2
    assert run(cut("limit = 9", "def f():\n    return limit", fallback=lesson))["f"]() == 9


def test_functions_that_call_each_other_and_classes() -> None:
    pieces = cut(
        "def f(n):\n    return n if n < 2 else g(n - 1)",
        "def g(n):\n    return Box(f(n - 1)).value",
        "class Box(Base):\n    start = one\n    def __init__(self, v): self.value = v + self.start + shift",
        "class Base: pass\none, shift = 1, 10",
    )
    assert run(pieces)["f"](3) == 12
    rebuilt = cut("def f(x):\n    return x", "import functools", "f = functools.partial(f, 3)")
    assert run(rebuilt)["f"]() == 3


def test_a_function_may_be_kept_in_a_table_that_it_uses_itself() -> None:
    pieces = cut("def f(x):\n    return TABLE.get(x, x)", "TABLE = {k: f for k in (1, 2)}")
    assert run(pieces)["f"](5) == 5


def test_statements_on_one_line_and_inside_others() -> None:
    assert run(cut("a = 1; b = a + 1; c = heavy()\ndef f(): return b"))["f"]() == 2
    assert (
        run(
            cut(
                "try:\n    import no_such_thing as g\nexcept ImportError:\n    def g(): return 4",
                "f = lambda: g()",
            )
        )["f"]()
        == 4
    )


def test_deleting_is_no_meaning_and_relative_imports_are_left_out() -> None:
    pieces = cut("from . import aid\na = 1\ndef f():\n    return a", "del f, a")
    assert run(pieces)["f"]() == 1


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("%matplotlib inline\nx = 1", "pass\nx = 1"),
        ("!pip install torch\nx = 1\ntorch.softmax?", "pass\nx = 1\npass"),
        ("files = !ls\nhere, there = %pwd", "files = None\nhere, there = None"),
        ("if colab:\n    !pip install x\n    %cd y", "if colab:\n    pass\n    pass"),
        ("%%time\nx = 1", "pass\nx = 1"),
        ("\n%%capture out\nx = 1", "\npass\nx = 1"),
        ("%%bash\nrm -rf /", ""),
        ("%%writefile a.py\ndef f(): pass", ""),
        ("y = (a\n     % b)", "y = (a\n     % b)"),
        ('s = """\n%not a magic\n!nor this\n"""', 's = """\n%not a magic\n!nor this\n"""'),
        ("    x = 1\n    y = 2", "x = 1\ny = 2"),
        ("\n".join(["%a"] * 30 + ["x = 1"]), "\n".join(["pass"] * 30 + ["x = 1"])),
        ("def f(:\n  !", "def f(:\n  !"),
    ],
)
def test_what_ipython_alone_understands_is_dropped(cell: str, expected: str) -> None:
    assert without_magics(cell) == expected


def test_a_broken_cell_loses_its_broken_statement_alone() -> None:
    statements, broken = parse(
        [(3, "import math\nThis is my answer:\n@cached\ndef f(x):\n    return (\n      math.pi\n)\nprint('")]
    )
    assert [name for statement in statements for name in statement.binds] == ["math", "f"]
    assert [(part.cell, part.line) for part in broken] == [(3, 2), (3, 8)]
    assert broken[0].why == "line 2: invalid syntax" and broken[1].why.startswith(
        "line 8: unterminated string"
    )


def test_too_much_is_not_read_and_a_chain_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = "x = '" + "1" * (slicing.MOST_SOURCE // 2) + "'"
    statements, broken = parse([(1, 2 * cell), (2, "y = 2"), *((n, cell) for n in range(3, 30))])
    assert {s.cell for s in statements} == set(range(2, 16))
    assert "characters" in broken[0].why and "too much code" in broken[-1].why
    monkeypatch.setattr(slicing, "MOST_READ", 10)
    statements, broken = parse([(1, "x = 1\n" * 20), (2, "y = 2")])
    assert len(statements) == 10 and "too much code" in broken[-1].why
    monkeypatch.undo()
    long = "\n".join(["x0 = 0"] + [f"x{n} = x{n - 1}" for n in range(1, 2_000)])
    with pytest.raises(RecursionError):
        cut(long, "def f():\n    return x1999")


pieces_of_code = st.sampled_from(
    [
        "def f(x):",
        "    return x",
        "x = 1",
        "%magic",
        "!ls",
        "(",
        ")",
        "'''",
        "class A:",
        "@",
        "if x:",
        "\t",
        "f?",
        "é",
        "\0",
        ";",
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(pieces_of_code | st.text(max_size=8), max_size=8).map("\n".join), max_size=4))
@example(["(" * 50_000])
@example(["-" * 49_000 + "1"])
@example(["a" + ".a" * 20_000, "f = " + "not " * 10_000 + "x"])
@example(["\n".join(" " * n + "if x:" for n in range(150))])
def test_no_cells_ever_raise_and_every_piece_is_python(cells: list[str]) -> None:
    statements, broken = parse(enumerate(cells, start=1))
    for statement in statements:
        compile(statement.text, "<piece>", "exec", dont_inherit=True)
        try:
            assert statement in needed(statement, statements)
        except RecursionError:
            assert len(statements) > 100
    assert all(part.why for part in broken)
