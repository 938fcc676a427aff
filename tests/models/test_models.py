from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

from kdcourse import models
from kdcourse.errors import ArgumentError

NAMES = sorted(models.names("classification"))
SMALL_PICTURES = [
    pytest.param((8, 8), id="8x8"),
    pytest.param((17, 12), id="17x12"),
]


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def trains(model: nn.Module, channels: int, height: int, width: int, classes: int) -> None:
    """Forward and backward on two images; every parameter gets a finite gradient."""
    assert model.training
    torch.manual_seed(0)
    logits = model(torch.randn(2, channels, height, width))
    assert logits.dtype == torch.float32 and logits.shape == (2, classes)
    (logits * torch.randn(2, classes)).sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and bool(p.grad.isfinite().all()), name


@pytest.mark.parametrize("name", NAMES)
def test_names_tell_how_many_parameters_are_built(name: str) -> None:
    told = models.names("classification")[name]
    assert told == count(models.build(name))
    if size := re.search(r"_(\d+)k$", name):
        assert told == pytest.approx(1000 * int(size[1]), rel=0.15)


def test_names_can_be_changed_by_nobody() -> None:
    models.names()["teacher"] = 0
    assert models.names()["teacher"] > 0


def test_sizes_that_the_course_asks_for() -> None:
    told = models.names("classification")
    students = [count for name, count in told.items() if not name.startswith("teacher")]
    assert min(students) < 3_000 and 180_000 < max(students) < 250_000
    teachers = [count for name, count in told.items() if name.startswith("teacher")]
    assert all(400_000 < count < 1_000_000 for count in teachers)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_every_model_trains_on_grey_and_on_colour(name: str, channels: int) -> None:
    trains(models.build(name, in_channels=channels, num_classes=7), channels, 28, 28, 7)


@pytest.mark.parametrize("size", SMALL_PICTURES)
@pytest.mark.parametrize("name", NAMES)
def test_every_model_takes_other_sizes(name: str, size: tuple[int, int]) -> None:
    trains(models.build(name, size=size, num_classes=2), 1, *size, 2)


@pytest.mark.parametrize("name", ["teacher", "pocket_2k", "depthwise_4k"])
def test_convolutional_models_need_no_size(name: str) -> None:
    model = models.build(name).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 1, 28, 28)).shape == model(torch.randn(1, 1, 40, 33)).shape == (1, 10)


@pytest.mark.parametrize("name", ["teacher", "pocket_17k", "depthwise_4k", "mlp_25k"])
def test_pictures_of_a_batch_do_not_mix(name: str) -> None:
    torch.manual_seed(0)
    model, images = models.build(name).eval(), torch.randn(3, 1, 28, 28)
    with torch.no_grad():
        alone = torch.cat([model(image[None]) for image in images])
        torch.testing.assert_close(model(images), alone, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(alone[0], alone[1])


def test_the_seed_decides_about_initial_weights() -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return next(models.build("pocket_2k").parameters())

    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))


def test_options_reach_the_model() -> None:
    assert models.build("pocket_2k", widths=(3,), depths=(2,)).head.in_features == 3
    dropping = models.build("mlp_25k", hidden=(5, 4), dropout=0.5)
    assert [type(layer).__name__ for layer in dropping.layers] == [
        "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"
    ]  # fmt: skip
    assert count(models.build("mlp_25k", hidden=())) == 784 * 10 + 10


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet", {}, "no model 'resnet'. Choose one of teacher, .* or torchvision:NAME"),
        ("pocket_2k", {"width": 3}, "'pocket_2k' has no option 'width'; it takes widths, depths"),
        ("teacher", {"widths": ()}, "one width a stage.*found none"),
        ("pocket_2k", {"widths": ()}, r"one depth for each width.*widths=\(\)"),
        ("pocket_2k", {"widths": (4, 8)}, r"one depth for each width.*widths=\(4, 8\)"),
        ("depthwise_4k", {"widths": (4,)}, r"at least two widths; found \(4,\)"),
        ("mlp_25k", {"dropout": 1.0}, "dropout .*found 1.0"),
        ("mlp_25k", {"dropout": -0.1}, "dropout .*found -0.1"),
        ("teacher", {"num_classes": 1}, "num_classes=1"),
        ("teacher", {"in_channels": 0}, "in_channels=0"),
        ("torchvision:resnet18000", {}, "no classifier 'resnet18000'.*torchvision_names"),
        ("torchvision:fasterrcnn_resnet50_fpn", {}, "no classifier 'fasterrcnn"),
        ("torchvision:resnet18", {"colour": 1}, "resnet18 doesn't take these options: .*colour"),
        ("torchvision:maxvit_t", {}, "maxvit_t isn't offered: .*Choose another"),
        ("torchvision:vit_b_16", {"size": 30}, "multiple of 4 pixels; found size=30x30"),
        ("torchvision:vit_b_16", {"size": (28, 32)}, "square images.*28x32"),
    ],
)
def test_names_and_options_that_do_not_exist(name: str, options: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ArgumentError, match=message):  # no time for weights
        models.build(name, **options)


@pytest.mark.parametrize("name", ["teacher", "pocket_2k"])
def test_pictures_too_small_to_halve(name: str) -> None:
    with pytest.raises(ArgumentError, match=r"at least 8 pixels high and wide for 3 halvings; found 28x7"):
        models.build(name)(torch.zeros(1, 1, 28, 7))


def test_an_mlp_of_other_pictures() -> None:
    with pytest.raises(ArgumentError, match=r"784 numbers each; found 1024 \(shape \[1, 32, 32\]\)"):
        models.build("mlp_25k")(torch.zeros(2, 1, 32, 32))
    assert models.build("mlp_25k")(torch.zeros(0, 1, 28, 28)).shape == (0, 10)


SEGMENTERS = ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"]


def test_names_by_task() -> None:
    classifiers, segmenters = models.names("classification"), models.names("segmentation")
    assert set(SEGMENTERS) <= set(segmenters) and "pocket_2k" in classifiers
    assert models.names() == classifiers | segmenters | models.names("language")
    assert not set(classifiers) & set(segmenters)
    with pytest.raises(
        ArgumentError, match=r"classification, segmentation, language, or None for all; found 'detection'"
    ):
        models.names("detection")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SEGMENTERS)
def test_torchvision_segmenters_train_without_a_download(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("asked for the network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    model = models.build(name, num_classes=11, in_channels=3)
    assert model.training and count(model) == models.names("segmentation")[name]
    logits = model(torch.randn(2, 3, 64, 64))
    assert logits.dtype == torch.float32 and logits.shape == (2, 11, 64, 64)
    (logits * torch.randn(2, 11, 64, 64)).sum().backward()
    for part, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), part
    model.eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 64, 64)).shape == (1, 11, 64, 64)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_torchvision_segmenters_answer_at_the_pictures_size(name: str) -> None:
    coarse: list[tuple[int, ...]] = []
    with torch.device("meta"):
        for stride, channels in ((1, 1), (2, 4)):
            model = models.build(name, num_classes=3, in_channels=channels, stem_stride=stride)
            model.network.backbone.register_forward_hook(
                lambda _, __, maps: coarse.append(tuple(list(maps.values())[-1].shape[2:]))
            )
            assert model(torch.empty(2, channels, 65, 48)).shape == (2, 3, 65, 48)
    assert coarse == [(9, 6), (5, 3)]
    with pytest.raises(ArgumentError, match=r"stem_stride must be 1.* found 3"):
        models.build(name, stem_stride=3)
    with pytest.raises(ArgumentError, match=f"'{name}' has no option 'colour'; it takes stem_stride"):
        models.build(name, colour=1)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_segmenter_as_published_is_torchvisions(name: str) -> None:
    """So that weights trained elsewhere can be loaded into it."""
    from torchvision.models import segmentation as zoo

    theirs = getattr(zoo, name)(weights=None, weights_backbone=None, num_classes=21).eval()
    ours = models.build(name, num_classes=21, in_channels=3, stem_stride=2).eval()
    ours.network.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images)["out"])


def test_deeplab_cannot_be_trained_on_one_picture() -> None:
    model = models.build("deeplabv3_mobilenet_v3_large", num_classes=2, in_channels=3)
    with pytest.raises(
        ArgumentError, match=r"DeepLabV3 can't be trained on \[1, 3, 32, 32\].*batch_size of 2"
    ):
        model(torch.randn(1, 3, 32, 32))
    with pytest.raises(RuntimeError, match="channels"):  # other mistakes keep their own words
        model(torch.randn(2, 1, 32, 32))
    small = models.build("lraspp_mobilenet_v3_large", num_classes=2, in_channels=3)
    assert small(torch.randn(1, 3, 32, 32)).shape == (1, 2, 32, 32)


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5", "resnet18"])
def test_torchvision_classifiers_train_on_small_pictures(name: str) -> None:
    trains(models.build(f"torchvision:{name}"), 1, 28, 28, 10)


# One of each family, without weights: shapes alone are worked out, which takes no time even for the largest.
@pytest.mark.parametrize(
    "name",
    [
        "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
        "mobilenet_v2", "mobilenet_v3_small", "resnext50_32x4d", "swin_t", "swin_v2_t", "vgg11", "vgg16_bn", "vit_b_16",
        "vit_b_32", "wide_resnet50_2",
    ],
)  # fmt: skip
def test_torchvision_families_fit_small_pictures(name: str) -> None:
    with torch.device("meta"):
        model = models.build(f"torchvision:{name}", num_classes=5, in_channels=2)
        logits = model(torch.empty(2, 2, 28, 28))
    assert isinstance(logits, torch.Tensor) and logits.shape == (2, 5)


def test_a_resnet_keeps_the_resolution_of_small_pictures() -> None:
    with torch.device("meta"):
        model = models.build("torchvision:resnet18")
        sizes: list[tuple[int, ...]] = []
        for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
            stage.register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape[2:])))
        model(torch.empty(2, 1, 28, 28))
    assert sizes == [(28, 28), (14, 14), (7, 7), (4, 4)]


def test_torchvision_names_are_classifiers_that_are_offered() -> None:
    names = models.torchvision_names()
    assert {"resnet18", "vit_b_16", "mobilenet_v3_small"} <= set(names) and len(names) > 60
    assert not {"maxvit_t", "fasterrcnn_resnet50_fpn", "raft_small"} & set(names)


def test_a_vision_transformer_starts_from_sensible_weights() -> None:
    model = models.build("torchvision:vit_b_32", size=32)
    assert model.encoder.pos_embedding.shape == (1, 65, 768)
    assert 0.015 < float(model.encoder.pos_embedding.std()) < 0.025
    assert 0.2 < float(model.conv_proj.weight.std()) < 0.26  # 1 / sqrt(16 inputs), its tails cut off
    assert bool((model.conv_proj.bias == 0).all())
