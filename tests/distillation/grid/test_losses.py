from __future__ import annotations

import pytest
import torch

from kdcourse.data import Batch, View
from kdcourse.distillation import hinton_loss
from kdcourse.distillation.grid.losses import Axes, Losses, right

AXES = Axes((0.1, 0.2), (0, 1, 2), (0.5, 1.0, 8.0), (0.0, 0.3, 1.0))
STUDENTS, SIZE, CLASSES = 54, 7, 5


def batch(labels: torch.Tensor) -> Batch:
    return Batch(torch.zeros(len(labels), 1, 2, 2), labels, torch.arange(len(labels)), View())


def case(scale: float = 1.0) -> tuple[torch.Tensor, list[Batch], torch.Tensor]:
    torch.manual_seed(0)
    logits = torch.randn(STUDENTS, CLASSES, SIZE, dtype=torch.float64) * scale
    labels = torch.randint(CLASSES, (3, SIZE))
    return (
        logits,
        [batch(each) for each in labels],
        torch.randn(3, SIZE, CLASSES, dtype=torch.float64) * scale,
    )


def test_losses_and_gradients_are_each_students_hinton_loss() -> None:
    logits, batches, teacher = case()
    losses = Losses(AXES, torch.float64, torch.device("cpu"))
    gradient = losses.add(logits, batches, teacher)
    found = losses.means()
    position = 0
    for _ in AXES.learning_rates:
        for group in range(3):
            for temperature in AXES.temperatures:
                for alpha in AXES.alphas:
                    z = logits[position].T.clone().requires_grad_()
                    loss = hinton_loss(
                        z, teacher[group], batches[group].labels, temperature=temperature, alpha=alpha
                    )
                    loss.backward()
                    assert found[position][0] == pytest.approx(float(loss), abs=1e-12)
                    torch.testing.assert_close(gradient[position].T, z.grad, rtol=0, atol=1e-14)
                    hits = (z.argmax(1) == batches[group].labels).double().mean()
                    assert found[position][1] == pytest.approx(float(hits))
                    position += 1
    assert position == STUDENTS


def test_means_are_over_all_batches() -> None:
    logits, batches, teacher = case()
    once, twice = (Losses(AXES, torch.float64, torch.device("cpu")) for _ in range(2))
    first = once.add(logits, batches, teacher)
    twice.add(logits, batches, teacher)
    torch.testing.assert_close(twice.add(logits, batches, teacher), first)
    assert [pytest.approx(mean) for mean in once.means()] == twice.means()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_huge_logits_stay_finite(dtype: torch.dtype) -> None:
    logits, batches, teacher = case(scale=1e4)
    losses = Losses(AXES, torch.float32, torch.device("cpu"))
    gradient = losses.add(logits.to(dtype), batches, teacher.float())
    assert gradient.dtype == dtype
    assert torch.isfinite(gradient).all()
    assert all(torch.isfinite(torch.tensor(mean)).all() for mean in losses.means())


def test_right_counts_as_argmax_does_where_logits_tie() -> None:
    torch.manual_seed(0)
    logits = torch.randint(3, (6, 5, 400)).double()  # nearly every column has a tie
    labels = torch.randint(5, (6, 400))
    assert right(logits, labels[:, None]).tolist() == (logits.argmax(1) == labels).sum(1).tolist()


@pytest.mark.parametrize("most", [1, 2, 5, 9, 27, 54, 1000])
def test_parts_hold_every_setting_once_and_no_more_than_asked(most: int) -> None:
    parts = AXES.parts(most)
    cells = [
        (rate, seed, temperature, alpha)
        for part in parts
        for rate in part.learning_rates
        for seed in part.seeds
        for temperature in part.temperatures
        for alpha in part.alphas
    ]
    assert len(cells) == len(set(cells)) == STUDENTS
    sizes = [torch.Size(part.shape).numel() for part in parts]
    assert max(sizes) <= most
    assert len(parts) == 1 or min(sizes) * 4 >= min(most, 4)
