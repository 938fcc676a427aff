"""What holds for every test: own caches, no display, one thread a worker, a coverage gate for whole runs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: several workers with a thread a core each would slow one another down.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"
# matplotlib's list of fonts takes seconds to build: one place for all tests, outside the caches set aside below.
os.environ.setdefault("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / "kdcourse-tests-matplotlib"))


def pytest_configure(config: pytest.Config) -> None:
    """Coverage of a part of the tests says nothing about the package: gate and table are for all of them."""
    plugin = config.pluginmanager.getplugin("_cov")
    everything = config.args_source is not pytest.Config.ArgsSource.ARGS
    # All but the browser's tests are everything: those add nothing to coverage.
    marked = config.getoption("markexpr") not in ("", "not browser")
    chosen = config.getoption("keyword") or marked or config.getoption("lf", False)
    if plugin is not None and (chosen or not everything):
        plugin.options.cov_fail_under = 0
        plugin.options.cov_report = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole notebooks first, the longest before the others: started last, one of them would keep one core waiting."""
    whole = "test_every_output_is_what_is_stored["
    items.sort(key=lambda item: (whole not in item.name, f"{whole}07" not in item.name))


@pytest.fixture(autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own cache or data folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("KDCOURSE_DATA", raising=False)
