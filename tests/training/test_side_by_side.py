from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import torch

from kdcourse.training.side_by_side import AfterStep, side_by_side


def test_results_come_in_order_and_threads_are_as_before() -> None:
    before = torch.get_num_threads()
    both = threading.Barrier(2, timeout=10)

    def training(number: int) -> Callable[[AfterStep | None], tuple[int, int]]:
        def train(after_step: AfterStep | None) -> tuple[int, int]:
            assert after_step is not None
            both.wait()  # two at a time, or the barrier breaks
            after_step(0, 1, 0.5)
            return number, torch.get_num_threads()

        return train

    assert side_by_side([training(number) for number in range(4)], 2) == [(number, 1) for number in range(4)]
    assert torch.get_num_threads() == before
    assert side_by_side([lambda after_step: after_step], 1) == [None]


@pytest.mark.parametrize("error", [ValueError("diverged"), KeyboardInterrupt()])
def test_when_one_fails_the_others_stop_and_none_begins(error: BaseException) -> None:
    began, ended = [], threading.Event()

    def failing(after_step: AfterStep | None) -> None:
        while not began:
            time.sleep(0.001)
        raise error

    def endless(after_step: AfterStep | None) -> None:
        began.append("endless")
        try:
            while after_step is not None:
                time.sleep(0.001)
                after_step(0, 1, 0.5)
        finally:
            ended.set()

    with pytest.raises(type(error)):
        side_by_side([failing, endless, endless, endless], 2)
    assert ended.is_set() and len(began) <= 2
