"""The room itself: its names, what it needs, what it keeps away from."""

from __future__ import annotations

import subprocess
import sys

from kdcourse import widgets


def test_every_public_name_is_there() -> None:
    assert all(callable(getattr(widgets, name)) for name in widgets.__all__)


def test_without_ipywidgets_the_way_out_is_told() -> None:
    code = "import sys; sys.modules['ipywidgets'] = None; import kdcourse.widgets"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.rstrip().splitlines()[-3:] == [
        "ImportError: kdcourse.widgets needs ipywidgets, which is not installed here. Install it with",
        '    pip install "kdcourse[notebooks]"',
        "and restart the kernel.",
    ]
