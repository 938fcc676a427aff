"""Knowledge distillation, taught and measured on any laptop.

The package is laid out as the course is taught, and data flows one way, left to right:

    data -> models -> training -> distillation -> evaluation -> deploy -> figures -> widgets -> checks
         -> runs -> lessons -> coursework

``data``
    images as tensors in memory, with the views of them that training sees
``models``
    teachers and students by name
``training``
    the one training loop, its history, its checkpoints
``distillation``
    ensembles, soft targets kept on disk, the objectives
``evaluation``
    accuracy, calibration, agreement, gap recovered, what a model costs
``deploy``
    pruning and int8; a student as one file for other runtimes or a microcontroller
``figures``
    one function a figure, from results to matplotlib
``widgets``
    what learners turn and press in a notebook, with a figure for where widgets can't run
``checks``
    the engine that tells whether an answer is right, and which known mistake it looks like
``course``
    the lessons with their exercises, one folder per topic, and what their notebooks import
``runs``
    the whole story: trained teachers, recorded results, the run and its report
``coursework``
    assignments made from lessons, and whole classes graded in a sandbox

``lab`` opens the lessons in JupyterLab, ``doctor`` tells whether this machine is ready, ``pages`` renders HTML with
the templates that the report and coursework share, ``errors`` holds what the others raise. A module is imported when
it is first asked for, so that ``import kdcourse`` itself costs next to nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdcourse import (
        checks,
        course,
        coursework,
        data,
        deploy,
        distillation,
        doctor,
        errors,
        evaluation,
        figures,
        lab,
        models,
        pages,
        runs,
        training,
        widgets,
    )

# Threads that wait for one another in a parallel loop spin, and take the core from the very thread that they wait for
# where another program is busy: a step then takes up to 50 times as long. So they spin for a moment only (500
# turns, about 0.03 ms; Intel's and LLVM's OpenMP count milliseconds), then sleep. More turns cost less alone (500 cost
# 5 % of a step of pocket_17k, 26 % of a step of pocket_2k with 64 images; 4,000 cost nothing) and more beside a
# neighbour (500: 2.5 times, 2,000: 2.8, 5,000: 3.0, 10,000: 3.7, 30,000: 6.3). OpenMP reads this when torch is loaded;
# what is set already, by the user or a parent process, stays. `benchmarks/neighbour.py` measures it.
if (
    "torch" not in sys.modules
    and not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys()
):
    os.environ |= {"GOMP_SPINCOUNT": "500", "KMP_BLOCKTIME": "1"}

__version__ = "0.1.0"

__all__ = [
    "checks",
    "course",
    "coursework",
    "data",
    "deploy",
    "distillation",
    "doctor",
    "errors",
    "evaluation",
    "figures",
    "lab",
    "models",
    "pages",
    "runs",
    "training",
    "widgets",
]


def __getattr__(name: str) -> ModuleType:
    """Import a module the first time it is named (PEP 562)."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
