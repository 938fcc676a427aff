"""Distil step by step: each student becomes the teacher of the next one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from kdcourse.data import AnyDataset
from kdcourse.distillation.distil import distil
from kdcourse.distillation.targets import SoftTargets
from kdcourse.errors import ArgumentError
from kdcourse.training import History, Settings


def distil_chain(
    students: Sequence[nn.Module],
    teacher: nn.Module | SoftTargets,
    data: AnyDataset,
    settings: Settings | None = None,
    *,
    checkpoint: Path | str | None = None,
    **changes: Any,
) -> list[History]:
    """Train ``students`` one after another: the first learns from ``teacher``, each later one from the one before it.

    Two published methods are such chains:

    - *Teacher assistants* (Mirzadeh et al. 2020, https://arxiv.org/abs/1902.03393, section 3): networks of sizes
      between teacher and student, from large to small. They may help where the student is far smaller than its teacher.
    - *Born-again generations* (Furlanello et al. 2018, https://arxiv.org/abs/1805.04770, section 3): networks of the
      teacher's own architecture, each drawn anew. An `Ensemble` of all generations is often better than any of them.

    Args:
        students: fresh networks, trained in place; at least one.
        teacher: of the first student, see `distil`.
        data, settings: see `distil`; the same for every student.
        checkpoint: file of the first student's checkpoint; the n-th later one's has ``-n`` at the end of its name. The
            same call continues an interrupted chain.
        changes: further arguments of `distil`, the same for every student.

    Returns:
        The students' histories, in order.

    Raises:
        ArgumentError: no student, one object twice, the teacher among them, and as `distil`.
    """
    chain = [teacher, *students]
    if len(chain) < 2 or len({id(each) for each in chain}) < len(chain):
        raise ArgumentError(
            f"A chain needs at least one student, and each network once; found {len(chain) - 1} students, "
            f"{len({id(each) for each in chain})} different networks with the teacher. Build a fresh network for each "
            "step."
        )
    histories = []
    for place, student in enumerate(students):
        path = None if checkpoint is None else Path(checkpoint)
        if path is not None and place:
            path = path.with_name(f"{path.stem}-{place}{path.suffix}")
        histories.append(distil(student, chain[place], data, settings, checkpoint=path, **changes))
    return histories
