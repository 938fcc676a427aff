"""Published weights come from an HTTP server on this machine, and from nowhere else."""

from __future__ import annotations

import hashlib
import io
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdcourse import evaluation, models
from kdcourse.data import Dataset, Split
from kdcourse.errors import ArgumentError, CheckpointError, DataError

IMAGENET = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A folder that a local server shows, and an empty cache of PyTorch's."""
    folder, home = tmp_path / "served", tmp_path / "torch"
    folder.mkdir()
    monkeypatch.setenv("TORCH_HOME", str(home))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield SimpleNamespace(
        folder=folder, cache=home / "hub/checkpoints", url=f"http://127.0.0.1:{server.server_port}"
    )
    server.shutdown()
    server.server_close()
    thread.join()


def publish(
    served: Any, name: str, network: nn.Module, monkeypatch: pytest.MonkeyPatch, content: bytes = b""
) -> Path:
    """Put a network's weights on the server, under the name that torchvision's first weights then have."""
    from torchvision.models import get_model_weights

    stream = io.BytesIO()
    torch.save(network.state_dict(), stream)
    content = content or stream.getvalue()
    file = Path(served.folder / f"{name}-{hashlib.sha256(content).hexdigest()[:8]}.pth")
    file.write_bytes(content)
    first = next(iter(get_model_weights(name)))
    monkeypatch.setattr(first.value, "url", f"{served.url}/{file.name}")
    return file


def random_network(name: str, **options: Any) -> nn.Module:
    from torchvision.models import get_model

    torch.manual_seed(5)
    return get_model(name, weights=None, **options).eval()


def pictures(channels: int = 3, size: tuple[int, int] = (20, 20), classes: int = 3) -> Dataset:
    generator = torch.Generator().manual_seed(1)

    def split(n: int) -> Split:
        images = torch.randint(0, 256, (n, channels, *size), generator=generator, dtype=torch.uint8)
        return Split(images, torch.arange(n) % classes)

    return Dataset("noise", tuple(f"c{k}" for k in range(classes)), split(12), split(6), split(6))


def as_published(images: Tensor, size: int = 224) -> Tensor:
    """uint8 images as the network was trained on them."""
    x = images.double() / 255
    x = F.interpolate(x, (size, size), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
    mean, std = (torch.tensor(IMAGENET[name]).double().view(1, 3, 1, 1) for name in ("mean", "std"))
    return (x - mean) / std


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_pretrained_teacher_sees_a_data_sets_images_as_it_was_trained_on_them(
    name: str, channels: int, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, data = random_network(name), pictures(channels, classes=1000)
    file = publish(served, name, published, monkeypatch)
    teacher = models.build(f"torchvision:{name}", weights="IMAGENET1K_V1", data=data, progress=False)
    assert teacher.training and (served.cache / file.name).read_bytes() == file.read_bytes()
    with torch.no_grad():
        wanted = published(as_published(data.test.images).float())
    found = evaluation.predict(teacher, data.test, data)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    # And a second time from the cache, the server's file being gone.
    file.unlink()
    again = models.build(f"torchvision:{name}", weights="DEFAULT", data=data, progress=False)
    assert torch.equal(evaluation.predict(again, data.test, data), found)


def test_without_a_data_set_it_takes_images_that_are_not_normalised(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, data = random_network("squeezenet1_1"), pictures()
    publish(served, "squeezenet1_1", published, monkeypatch)
    teacher = models.build("torchvision:squeezenet1_1", weights="IMAGENET1K_V1", progress=False).eval()
    images = data.test.images
    with torch.no_grad():
        wanted = published(as_published(images).float())
        assert wanted.shape == (6, 1000)
        torch.testing.assert_close(teacher(images), wanted, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(teacher(images / 255), wanted, rtol=1e-3, atol=1e-3)
        # What training and evaluation pass would be misunderstood, and is refused.
        with pytest.raises(
            ArgumentError, match=r"built without data=.*from 0 to 1; found -1.* build it with data="
        ):
            teacher(data.normalise(images))


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5"])
def test_another_number_of_classes_gives_a_new_head_and_is_said(
    name: str, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, data = random_network(name), pictures()
    publish(served, name, published, monkeypatch)
    with pytest.warns(
        UserWarning, match=f"{name} are for 1000 classes and 3 are wanted: its last layer is new"
    ):
        teacher = models.build(f"torchvision:{name}", weights="IMAGENET1K_V1", data=data, progress=False)
    assert evaluation.predict(teacher, data.test, data).shape == (6, 3)
    theirs, ours = published.state_dict(), teacher.network.state_dict()
    changed = [key for key in ours if ours[key].shape != theirs[key].shape]
    assert {key.rpartition(".")[0] for key in changed} == {
        "classifier.1" if name == "squeezenet1_1" else "fc"
    }
    assert all(torch.equal(ours[key], theirs[key]) for key in ours if key not in changed)


def test_googlenet_returns_its_logits_alone(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(served, "googlenet", random_network("googlenet", init_weights=False), monkeypatch)
    teacher = models.build("torchvision:googlenet", weights="IMAGENET1K_V1", progress=False)
    assert teacher(torch.rand(2, 1, 30, 30)).shape == (2, 1000)


@pytest.mark.slow
def test_a_damaged_download_leaves_nothing(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = publish(served, "squeezenet1_1", random_network("squeezenet1_1"), monkeypatch)
    file.write_bytes(file.read_bytes()[:-1000] + bytes(1000))
    with pytest.raises(DataError, match=r"(?s)squeezenet1_1-.*damaged file \(sha256 expected .*by hand"):
        models.build("torchvision:squeezenet1_1", weights="IMAGENET1K_V1", progress=False)
    assert not (served.cache / file.name).exists()


def test_a_file_in_the_cache_that_was_cut_short_is_fetched_again(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = publish(served, "squeezenet1_1", random_network("squeezenet1_1"), monkeypatch)
    served.cache.mkdir(parents=True)
    (served.cache / file.name).write_bytes(file.read_bytes()[:1000])
    models.build("torchvision:squeezenet1_1", weights="IMAGENET1K_V1", progress=False)
    assert (served.cache / file.name).read_bytes() == file.read_bytes()


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import sys; sys.harmed = True",)


def test_a_file_that_would_run_code_is_refused(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    torch.save({"weight": Harm()}, stream)
    publish(served, "squeezenet1_1", nn.Module(), monkeypatch, stream.getvalue())
    with pytest.raises(CheckpointError, match="other than weights"):
        models.build("torchvision:squeezenet1_1", weights="IMAGENET1K_V1", progress=False)
    assert not hasattr(sys, "harmed")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "torchvision:resnet18",
            {"weights": "IMAGENET1K_V7"},
            "no weights 'IMAGENET1K_V7'; it has IMAGENET1K_V1",
        ),
        ("torchvision:resnet1", {"weights": "DEFAULT"}, "no classifier 'resnet1'"),
        (
            "teacher",
            {"weights": "DEFAULT"},
            "no published weights of model 'teacher'; found weights='DEFAULT'",
        ),
        ("timm:", {}, "no model 'timm:'"),
    ],
)
def test_weights_that_do_not_exist(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        models.build(name, **options)


def test_a_data_set_says_what_a_model_must_fit() -> None:
    data = pictures(channels=3, size=(12, 16), classes=4)
    model = models.build("mlp_25k", data=data)
    assert evaluation.predict(model, data.test, data).shape == (6, 4)
    assert models.build("mlp_25k", data=data, num_classes=7)(torch.zeros(1, 3, 12, 16)).shape == (1, 7)


# -- the wrapper ---------------------------------------------------------------------------------


class Seen(nn.Module):
    """Remembers what it was given."""

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return x.mean((2, 3))


def test_the_proportions_of_an_image_stay_and_the_rest_is_the_mean_colour() -> None:
    data = pictures(size=(10, 20))
    model = models.Preprocessed(Seen(), size=40, data=data, **IMAGENET)
    model(data.normalise(data.test.images))
    seen = model.network.seen
    assert seen.shape == (6, 3, 40, 40)
    assert not seen[:, :, :10].any() and not seen[:, :, 30:].any()
    torch.testing.assert_close(
        seen[:, :, 10:30],
        model.preprocess(data.normalise(data.test.images))[:, :, 10:30],
    )
    whole = F.interpolate(data.test.images / 255, (20, 40), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(IMAGENET[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    torch.testing.assert_close(seen[:, :, 10:30], (whole - mean) / std, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_wrapper_keeps_the_networks_precision(dtype: torch.dtype) -> None:
    data = pictures(channels=1)
    model = models.Preprocessed(nn.Sequential(nn.Conv2d(3, 3, 3), Seen()), size=24, data=data, **IMAGENET).to(
        dtype
    )
    model(data.normalise(data.test.images).to(dtype))
    assert model.network[1].seen.dtype == dtype


def test_its_weights_are_the_networks_alone() -> None:
    model = models.Preprocessed(nn.Linear(3, 2), size=None, **IMAGENET)
    assert list(model.state_dict()) == ["network.weight", "network.bias"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"std": (0.2, 0.2)}, "one number per channel each"),
        ({"std": (0.2, 0.0, 0.2)}, "std above 0"),
        ({"size": 0}, "at least 1 pixel; found 0"),
        (
            {"data": SimpleNamespace(mean=(0.1, 0.2), std=(0.1, 0.1))},
            "3 channels, or grey ones; the data set's have 2",
        ),
    ],
)
def test_a_wrapper_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        models.Preprocessed(Seen(), **(IMAGENET | {"size": 32} | options))


def test_channels_that_do_not_fit_are_named() -> None:
    with pytest.raises(
        ArgumentError, match=r"takes images \[B, 3, H, W\], or grey ones; found \[2, 4, 8, 8\]"
    ):
        models.Preprocessed(Seen(), size=8, **IMAGENET)(torch.rand(2, 4, 8, 8))


# -- timm ----------------------------------------------------------------------------------------


def test_timm_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ArgumentError, match=r"timm:resnet10t needs the package timm.*pip install timm"):
        models.build("timm:resnet10t")


def test_timm_without_weights() -> None:
    pytest.importorskip("timm")
    data = pictures(channels=1, size=(32, 32), classes=4)
    model = models.build("timm:test_resnet", data=data)
    assert model.training and evaluation.predict(model, data.test, data).shape == (6, 4)


@pytest.mark.slow
def test_timm_with_weights_from_a_server(served: Any) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(5)
    published, data = timm.create_model("test_resnet").eval(), pictures(channels=1)
    stream = io.BytesIO()
    torch.save(published.state_dict(), stream)
    file = served.folder / f"test_resnet-{hashlib.sha256(stream.getvalue()).hexdigest()[:8]}.pth"
    file.write_bytes(stream.getvalue())
    where = {"url": f"{served.url}/{file.name}", "hf_hub_id": None}
    options: dict[str, Any] = {"data": data, "progress": False, "pretrained_cfg_overlay": where}
    teacher = models.build("timm:test_resnet", weights="r160_in1k", num_classes=1000, **options)
    assert (served.cache / file.name).exists() and teacher.size == (160, 160)
    with torch.no_grad():
        seen = teacher.preprocess(data.normalise(data.test.images))
        assert seen.shape == (6, 3, 160, 160)
        found = teacher.eval()(data.normalise(data.test.images))
        torch.testing.assert_close(found, published(seen), rtol=1e-3, atol=1e-3)
    with pytest.warns(UserWarning, match="1000 classes and 3 are wanted"):
        assert models.build("timm:test_resnet", weights="DEFAULT", **options)(
            torch.zeros(2, 1, 20, 20)
        ).shape == (2, 3)
    (served.cache / file.name).unlink()
    file.write_bytes(b"else")
    with pytest.raises(DataError, match="another or a damaged file"):
        models.build("timm:test_resnet", weights="DEFAULT", **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm:test_resnett", {}, "timm has no classifier 'test_resnett'. Some that it has: "),
        ("timm:test_resnet", {"weights": "in22k"}, "no weights 'in22k'; it has r160_in1k"),
        ("timm:test_resnet", {"colour": 1}, "test_resnet doesn't take these options: .*colour"),
    ],
)
def test_what_timm_does_not_have(name: str, options: dict[str, Any], message: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(ArgumentError, match=message):
        models.build(name, **options)
