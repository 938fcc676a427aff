from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from kdcourse import evaluation, models
from kdcourse.deploy import (
    finish_quantization,
    make_quantization_aware,
    prune_weights,
    quantized,
    with_rounded_weights,
)
from kdcourse.deploy.quantization_aware import RoundedActivation, rounded_weight
from kdcourse.distillation import distil
from kdcourse.errors import ArgumentError
from tests.runs import tiny

DATA = tiny.dataset()


def student(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return models.PocketCNN(3, 1, widths=(4, 6), depths=(1, 0))


def test_weights_are_rounded_and_their_gradient_passes_unchanged() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 2, 3, 3, requires_grad=True)
    rounded, pull = rounded_weight(weight), torch.randn(5, 2, 3, 3)
    steps, scales = quantized(weight)
    torch.testing.assert_close(rounded, steps * scales.view(-1, 1, 1, 1))
    (rounded * pull).sum().backward()
    assert torch.equal(weight.grad, pull)


def test_activations_are_rounded_in_a_range_that_follows_training_batches() -> None:
    rounding, values = RoundedActivation(), torch.linspace(-1, 2, 1001, requires_grad=True)
    assert torch.equal(rounding.eval()(values), values)  # no batch yet
    rounding.train()
    found = rounding(values)
    assert (float(rounding.low), float(rounding.high)) == (-1, 2)
    found = found.detach()
    assert len(found.unique()) == 256 and 0.0 in found
    assert float((found - values.detach()).abs().max()) < 3 / 255
    rounding(values.detach() * 2)
    assert float(rounding.high) == pytest.approx(2 + 0.05 * 2)
    rounding.eval()
    beyond = torch.tensor([1.0, 50.0], requires_grad=True)
    rounded = rounding(beyond)
    assert float(rounded[1]) == pytest.approx(2.1, abs=0.02) and float(rounding.high) == pytest.approx(2.1)
    rounded.sum().backward()
    assert beyond.grad.tolist() == [1.0, 0.0]
    assert rounding(values.bfloat16()).dtype == torch.bfloat16
    positive = RoundedActivation()
    positive(torch.tensor([3.0, 5.0]))
    assert float(positive.low) == 0  # zeros, with which convolutions pad, stay exact


@pytest.mark.filterwarnings("ignore::kdcourse.errors.TeacherWarning")
def test_a_float_teacher_teaches_a_student_of_rounded_weights() -> None:
    model = student()
    names = list(model.state_dict())
    make_quantization_aware(model)
    history = distil(
        model, student(1), DATA, alpha=0.5, temperature=2.0, epochs=3, batch_size=16, learning_rate=0.02,
        optimizer="muon", seed=0, progress=False, cache=False, precision="float32",
    )  # fmt: skip
    assert history.last.train_loss < history.epochs[0].train_loss
    images = DATA.normalise(DATA.test.images)
    aware = copy.deepcopy(model)
    finish_quantization(model)
    assert sorted(model.state_dict()) == sorted(names) and not any(
        part._forward_pre_hooks for part in model.modules()
    )
    # The weights stand where a file in int8 has them: rounding them again changes nothing.
    again = with_rounded_weights(model)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=1e-6, atol=1e-8)
    with torch.no_grad():
        found, wanted = model(images), aware(images)
        assert not torch.equal(found, wanted)  # activations aren't rounded any more
        assert float((found - wanted).abs().mean()) < 0.1 * float(wanted.abs().mean())
    cost = evaluation.cost(model, DATA.image_shape, latency=False)
    assert (
        cost.bytes_by_type.keys() == {"float32", "int64"} and sum(cost.bytes_by_type.values()) == cost.bytes
    )
    assert cost.macs_by_type == {"float32": cost.macs}


def test_what_does_not_fit_is_told() -> None:
    model = student()
    with pytest.raises(ArgumentError, match="isn't quantization-aware"):
        finish_quantization(model)
    make_quantization_aware(model)
    with pytest.raises(ArgumentError, match="quantization-aware already"):
        make_quantization_aware(model)
    with pytest.raises(ArgumentError, match="no convolution or linear layer"):
        make_quantization_aware(nn.ReLU())
    pruned = student()
    prune_weights(pruned, 0.5)
    with pytest.raises(ArgumentError, match="after finish_pruning"):
        make_quantization_aware(pruned)
