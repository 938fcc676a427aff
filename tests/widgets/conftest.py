from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import ipywidgets
import pytest

from kdcourse.widgets.jobs import trainings


@pytest.fixture(autouse=True)
def _own_folders_and_no_thread_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs and predictions go nowhere near the user's; whatever a test does, its threads end with its widgets."""
    monkeypatch.setenv("KDCOURSE_RUNS", str(tmp_path / "kept"))
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "cache"))
    before = set(threading.enumerate())
    yield
    ipywidgets.Widget.close_all()
    left = [thread.name for thread in set(threading.enumerate()) - before if "kdcourse" in thread.name]
    assert not left, f"threads left behind: {left}"
    assert trainings.join(10)
