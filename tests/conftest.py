"""What holds for every test: its own caches, no display, one thread; how all of them run."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

# Before torch is imported, here and in every process that a test starts: tests run side by side, and two workers of
# two threads each would fight over two cores. A number that is set already stays.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"
# Kernels, servers and commands do without a package that takes over a second to import: see the file in this folder.
# Processes that multiprocessing starts take over this one's path, all others the variable.
WITHOUT = str(Path(__file__).with_name("without"))
sys.path.insert(0, WITHOUT)
os.environ["PYTHONPATH"] = os.pathsep.join([WITHOUT, *filter(None, [os.environ.get("PYTHONPATH")])])
# matplotlib's list of fonts takes seconds to build: one place for all tests, outside the caches set aside below.
os.environ.setdefault("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / "kdcourse-tests-matplotlib"))

# The same examples in every run: a change is judged by what it changes. `--hypothesis-profile=default` draws new ones,
# as the weekly workflow does.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.load_profile("same")

WORKER_BYTES = 2e9  # what a worker may need, with the kernel of a lesson


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Accept the options of pytest-xdist that pyproject.toml sets where `-p no:xdist` has left it out."""
    if not pluginmanager.hasplugin("xdist"):
        parser.addoption("--numprocesses", help="ignored without pytest-xdist")
        parser.addoption("--dist", help="ignored without pytest-xdist")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Return one worker per core, and no more than there is memory for."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(psutil.virtual_memory().total / WORKER_BYTES)))


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run single files in this process, all else by one worker per core: workers take seconds to start."""
    arguments = [str(argument) for argument in config.invocation_params.args]
    if (
        config.args_source is pytest.Config.ArgsSource.ARGS
        and not any(Path(argument.split("::")[0]).is_dir() for argument in config.args)
        and not any(argument.startswith(("-n", "--numprocesses")) for argument in arguments)
    ):
        config.option.numprocesses = 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what is slow first, the longest before the others: started last, a long test would keep one core waiting.

    ``slow(seconds=...)`` says roughly how long, on two cores. Tests that share a fixture that takes long say the same,
    so that one worker runs them one after the other.
    """

    def seconds(item: pytest.Item) -> float:
        marker = item.get_closest_marker("slow")
        return 0 if marker is None else marker.kwargs.get("seconds", 2)

    items.sort(key=seconds, reverse=True)


def _seed() -> None:
    random.seed(0)
    if numpy := sys.modules.get("numpy"):  # loaded by the test's module, or not needed
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give fixtures the same random numbers in whatever order tests run, and on however many workers."""
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Give every test the same random numbers, whichever fixtures were there before it."""
    _seed()


@pytest.fixture(autouse=True)
def _modules_as_they_were() -> Iterator[None]:
    """No test leaves a function or a constant of a module changed that later ones in this process use.

    Tests run what learners wrote, ``math.tau = 6`` among it.
    """
    names = ("builtins", "math", "random", "numpy", "torch", "torch.nn.functional")
    modules = [sys.modules[name] for name in names if name in sys.modules]
    before = [dict(vars(module)) for module in modules]
    yield
    changed = {
        f"{module.__name__}.{name}": (module, name, value)
        for module, values in zip(modules, before, strict=True)
        for name, value in values.items()
        if name != "_"
        and (now := vars(module).get(name)) is not value
        # PyTorch wraps some functions of its own when it imports its compiler.
        and getattr(now, "__wrapped__", None) is not value
    }
    for module, name, value in changed.values():
        setattr(module, name, value)
    assert not changed, f"this test leaves {', '.join(changed)} changed"


@pytest.fixture(autouse=True)
def _own_caches(
    _modules_as_they_were: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test reads or writes the user's own cache or data folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("KDCOURSE_DATA", raising=False)
