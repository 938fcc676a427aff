"""Layers by name: found, named, tapped, and left as they were."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from kdcourse import models
from kdcourse.distillation.features import Tap, Trial, pair_layers
from kdcourse.errors import ArgumentError
from tests.training.toys import net


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("teacher", "map", {"stages": [192, 3, 3]}),
        ("teacher", "vector", {"head:input": [192]}),
        ("teacher", "stages", {
            "stem_norm": [16, 28, 28], "stages.0": [24, 14, 14], "stages.1": [64, 7, 7], "stages": [192, 3, 3],
        }),
        ("pocket_17k", "map", {"stages": [32, 7, 7]}),
        ("depthwise_4k", "map", {"features": [32, 7, 7]}),
        ("mlp_25k", "vector", {"layers.2:input": [32]}),
        ("unet", "map", {"up.2": [24, 8, 8]}),
        ("torchvision:resnet18", "map", {"layer4": [512, 4, 4]}),
        ("torchvision:resnet18", "stages", {
            "layer1": [64, 28, 28], "layer2": [128, 14, 14], "layer3": [256, 7, 7], "layer4": [512, 4, 4],
        }),
        ("torchvision:mobilenet_v3_small", "map", {"features": [576, 2, 2]}),
        ("torchvision:mobilenet_v3_small", "vector", {"classifier.3:input": [1024]}),
        ("lraspp_mobilenet_v3_large", "map", {"network.classifier.cbr": [128, 4, 4]}),
    ],
)  # fmt: skip
def test_the_usual_layers_are_found(name: str, kind: str, found: dict[str, list[int]]) -> None:
    trial = Trial(models.build(name), torch.randn(2, 1, 28, 28))
    assert {layer: list(trial.found[layer].shape[1:]) for layer in trial.layers(kind)} == found


def test_a_trial_leaves_the_network_as_it_was() -> None:
    model = net()
    model.second_norm.eval()
    before = copy.deepcopy(model)
    generator = torch.get_rng_state()
    Trial(model, torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), generator)
    assert [part.training for part in model.modules()] == [part.training for part in before.modules()]
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), before.state_dict().values(), strict=True)
    )
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_a_tap_keeps_outputs_and_inputs_of_training_passes() -> None:
    model, images = net().eval(), torch.randn(3, 1, 8, 8)
    with Tap(model, ["first", "head:input"]) as tap:
        with torch.no_grad():
            model(images)
        assert not tap.features
        model(images)
        assert torch.equal(tap.features["first"], model.first(images))
        assert tap.features["head:input"].shape == (3, 8) and tap.features["first"].requires_grad
    assert not tap.features and not model.first._forward_hooks and not model.head._forward_pre_hooks


def test_wrong_names_are_answered_with_the_right_ones() -> None:
    student, teacher = (
        Trial(net(), torch.randn(2, 1, 8, 8)),
        Trial(models.build("teacher"), torch.randn(2, 1, 28, 28)),
    )
    with pytest.raises(
        ArgumentError, match=r"Net has no layer 'layer4'.*first \[4, 8, 8\], .*head \[4\]\. Add"
    ):
        pair_layers("map", student, teacher, {"student": "layer4"})
    with pytest.raises(ArgumentError, match="under 'student' and 'teacher'; found 'pupil'"):
        pair_layers("map", student, teacher, {"pupil": "first"})
    with pytest.raises(ArgumentError, match=r"As many layers .*found first, second and stages"):
        pair_layers("map", student, teacher, {"student": ["first", "second"]})
    with pytest.raises(ArgumentError, match=r"sizes \(8, 8\), \(4, 4\), the teacher's .*none in common"):
        pair_layers("stages", student, teacher, None)
    with pytest.raises(ArgumentError, match=r"No map was found in MLP; its layers are layers\.0 \[32\]"):
        Trial(models.build("mlp_25k"), torch.randn(2, 1, 28, 28)).layers("map")
    assert pair_layers("map", student, teacher, {"student": "first"}) == (["first"], ["stages"])


def test_stages_are_paired_by_size() -> None:
    trials = [Trial(models.build(name), torch.randn(2, 1, 28, 28)) for name in ("pocket_17k", "teacher")]
    own, theirs = pair_layers("stages", trials[0], trials[1], None)
    assert theirs == ["stem_norm", "stages.0", "stages.1"]
    for one, other in zip(own, theirs, strict=True):
        assert trials[0].found[one].shape[2:] == trials[1].found[other].shape[2:]


def test_layers_that_return_no_tensor_are_left_out() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair, self.head = Pair(), nn.Linear(64, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.pair(x)[0].flatten(1))

    trial = Trial(Network(), torch.randn(2, 1, 8, 8))
    with pytest.raises(
        ArgumentError, match=r"no layer 'pair' that returns a tensor; its layers are head \[4\]"
    ):
        trial.named("pair")
