"""What several tests of coursework need and what takes long to make."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdcourse.coursework import gradebook
from kdcourse.coursework.records import Assignment


@pytest.fixture(scope="session")
def empty_gradebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nbgrader's file without anybody in it, to be copied: nbgrader takes seconds to make one."""
    pytest.importorskip("nbgrader.api")
    path = tmp_path_factory.mktemp("gradebook") / "gradebook.db"
    gradebook.record(path, Assignment("another", "Another", (), (), 0), [])
    return path
