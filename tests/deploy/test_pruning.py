from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from kdcourse import evaluation, models
from kdcourse.deploy import finish_pruning, narrowed, prune_weights, zero_share
from kdcourse.distillation import distil
from kdcourse.errors import ArgumentError
from tests.runs import tiny

DATA = tiny.dataset()


def student(seed: int = 0, name: str = "mlp_25k") -> nn.Module:
    torch.manual_seed(seed)
    return models.build(name, data=DATA)


@pytest.mark.filterwarnings("ignore::kdcourse.errors.TeacherWarning")
@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_pruned_weights_stay_at_zero_while_a_teacher_repairs_the_rest(optimizer: str) -> None:
    model = student()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    prune_weights(model, 0.75)
    zeros = {name: layer.weight == 0 for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    # The smallest of all layers together.
    largest = max(float(before[f"{name}.weight"][where].abs().max()) for name, where in zeros.items())
    assert all(
        float(before[f"{name}.weight"][~where].abs().min()) >= largest for name, where in zeros.items()
    )
    distil(
        model, student(1), DATA, alpha=0.5, temperature=2.0, epochs=2, batch_size=32, optimizer=optimizer,
        learning_rate=0.02, weight_decay=0.01, seed=0, progress=False, cache=False,
    )  # fmt: skip
    dense = evaluation.cost(student(), DATA.image_shape, latency=False)
    masked = copy.deepcopy(model)
    finish_pruning(model)
    assert model.state_dict().keys() == before.keys()
    for name, where in zeros.items():
        weight = model.get_submodule(name).weight
        assert torch.equal(weight == 0, where) and not torch.equal(weight, before[f"{name}.weight"] * ~where)
    assert zero_share(model) == pytest.approx(0.75, abs=1e-3)
    # Zeros are stored and multiplied like other numbers.
    assert evaluation.cost(model, DATA.image_shape, latency=False) == dense
    images = DATA.normalise(DATA.test.images)
    assert torch.equal(model(images), masked(images))


def test_a_second_call_prunes_further() -> None:
    model = student()
    prune_weights(model, 0.5)
    prune_weights(model, 0.5)
    assert zero_share(model) == pytest.approx(0.75, abs=1e-3)


def test_narrowed_network_is_the_one_without_its_smallest_channels() -> None:
    torch.manual_seed(0)
    model = models.PocketCNN(3, 2, widths=(4, 8), depths=(1, 2))
    with torch.no_grad():
        # Half of the channels of each stage do nothing at all: what is left must answer the same.
        gone = [torch.tensor([0, 3]), torch.tensor([1, 2, 5, 7])]
        for stage, places in zip(model.stages, gone, strict=True):
            for conv in (stage.expand, *stage.refine):
                conv.weight[places] = 0
            for norm in (stage.expand_norm, *stage.refine_norms):
                nn.init.normal_(norm.weight)
                nn.init.normal_(norm.bias)
                norm.running_mean.normal_()
                norm.bias[places] = -1e6 * torch.ones(len(places))  # a ReLU makes 0 of it
    small = narrowed(model.eval(), 0.5)
    assert isinstance(small, models.PocketCNN) and not small.training
    images = torch.randn(5, 2, 9, 12)
    with torch.no_grad():
        # The largest of a channel of zeros is 0, and so is what the last layer makes of it.
        torch.testing.assert_close(small(images), model(images), rtol=1e-4, atol=1e-5)
    whole, half = (evaluation.cost(each, (2, 12, 12), latency=False) for each in (model, small))
    assert half.macs < 0.4 * whole.macs and half.bytes < 0.4 * whole.bytes


def test_narrowed_mlp_keeps_the_largest_units() -> None:
    torch.manual_seed(0)
    model = models.MLP(3, 1, hidden=(6, 4), size=5, dropout=0.1).eval()
    with torch.no_grad():
        for place, units in ((0, [0, 2, 5]), (3, [1, 3])):
            model.layers[place].weight[units] = 0
            model.layers[place].bias[units] = 0
    small = narrowed(model, 0.5)
    images = torch.randn(4, 1, 5, 5)
    torch.testing.assert_close(small(images), model(images))
    assert [tuple(p.shape) for p in small.parameters()] == [(3, 25), (3,), (2, 3), (2,), (3, 2), (3,)]


def test_what_cannot_be_pruned_is_told() -> None:
    for share in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ArgumentError, match="above 0 and below 1; found"):
            prune_weights(student(), share)
        with pytest.raises(ArgumentError, match="above 0 and below 1; found"):
            narrowed(student(), share)
    with pytest.raises(ArgumentError, match="no convolution or linear layer"):
        prune_weights(nn.ReLU(), 0.5)
    with pytest.raises(ArgumentError, match="has no pruned weights"):
        finish_pruning(student())
    with pytest.raises(ArgumentError, match="found DepthwiseCNN"):
        narrowed(models.build("depthwise_4k"), 0.5)
