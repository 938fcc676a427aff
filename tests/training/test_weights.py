"""Weights on disk: what is stored comes back, and whatever is damaged or foreign is named and refused."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from kdcourse.errors import ArgumentError, CheckpointError
from kdcourse.training import fit, load_weights, save_weights
from kdcourse.training.weights import read_tensors, write_tensors
from tests.distillation import tiny
from tests.training.toys import FIT, net


def test_weights_and_notes_come_back(tmp_path: Path) -> None:
    path, model = tmp_path / "new" / "model.safetensors", net(1)
    model.first_norm.running_mean.uniform_()
    notes = {"settings": {"epochs": 3, "widths": [1, 2]}, "result": 0.1 + 0.2, "name": "größer"}
    save_weights(model, path, notes)
    other = net(2)
    assert load_weights(other, str(path)) == notes
    assert tiny.same_state(other, tiny.state(model))
    assert os.listdir(path.parent) == ["model.safetensors"]


def test_memory_layout_and_sharing_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = net(1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    save_weights(model, path)
    other = net(2)
    load_weights(other, path)
    assert tiny.same_state(other, tiny.state(model))
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    save_weights(tied, path)
    load_weights(tied, path)
    write_tensors(path, {"slice": torch.arange(10)[2:5], "expanded": torch.ones(1).expand(4)}, {})
    assert read_tensors(path)[0]["slice"].tolist() == [2, 3, 4]


def test_matrices_may_be_stored_in_half_precision(tmp_path: Path) -> None:
    path, model = tmp_path / "model.safetensors", net(1)
    save_weights(model, path, dtype=torch.float16)
    stored, _ = read_tensors(path)
    assert {name: t.dtype for name, t in stored.items() if t.ndim > 1}.keys() == {
        "first.weight", "second.weight", "hidden.weight", "head.weight"
    }  # fmt: skip
    for name, tensor in model.state_dict().items():
        kept = torch.float16 if tensor.ndim > 1 else tensor.dtype
        assert stored[name].dtype == kept
        assert torch.equal(stored[name], tensor.to(kept))
    other = net(2)
    load_weights(other, path)
    assert other.head.weight.dtype == torch.float32
    torch.testing.assert_close(other.head.weight, model.head.weight, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("value", "dtype"), [(float("nan"), None), (float("inf"), None), (1e5, torch.float16)]
)
def test_what_is_not_finite_is_not_stored(tmp_path: Path, value: float, dtype: torch.dtype | None) -> None:
    path, model = tmp_path / "model.safetensors", net()
    save_weights(model, path)
    content = path.read_bytes()
    model.head.weight.data[1, 2] = value
    with pytest.raises(
        ArgumentError, match=r"model.safetensors are not finite in head.weight.*leave out dtype="
    ):
        save_weights(model, path, dtype=dtype)
    assert path.read_bytes() == content


@pytest.mark.parametrize("first", [b"\x80\x02", b"\x80\x01", b"PK"])
def test_a_whole_file_that_begins_like_a_pickle_is_read(tmp_path: Path, first: bytes) -> None:
    """A safetensors file begins with the length of its header, which may be any number."""
    path, tensors = tmp_path / "model.safetensors", {"a": torch.arange(3)}
    length = int.from_bytes(first, "little")
    bare = int.from_bytes(save(tensors, {"kdcourse": json.dumps({"pad": ""})})[:8], "little")
    for pad in range(length - bare - 16, length - bare + 16):
        write_tensors(path, tensors, {"pad": "x" * pad})
        if path.read_bytes().startswith(first):
            break
    assert path.read_bytes()[:2] == first
    found, notes = read_tensors(path)
    assert torch.equal(found["a"], tensors["a"]) and notes == {"pad": "x" * pad}


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, int]]:
        return os.open, (str(self.path), os.O_CREAT)


def torch_saved(value: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.fixture(params=["load_weights", "fit"])
def load(request: pytest.FixtureRequest) -> Callable[[Path], object]:
    """The two ways in which a file is read."""
    if request.param == "load_weights":
        return lambda path: load_weights(net(), path)
    return lambda path: fit(net(), tiny.dataset(), checkpoint=path, **FIT)


@pytest.mark.parametrize(
    "kind", ["protocol 0", "protocol 2", "protocol 4", "protocol 5", "torch", "old torch"]
)
def test_a_pickle_under_another_name_is_never_unpickled(
    tmp_path: Path, load: Callable[[Path], object], kind: str
) -> None:
    path, sprung = tmp_path / "model.safetensors", tmp_path / "sprung"
    trap = Trap(sprung)
    if kind.startswith("protocol"):
        content = pickle.dumps(trap, protocol=int(kind[-1]))
    else:
        content = torch_saved({"head.weight": trap}, _use_new_zipfile_serialization=kind == "torch")
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert not sprung.exists()
    said = str(caught.value)
    assert str(path) in said
    if kind != "protocol 0":  # plain text, nothing that would tell it from other garbage
        assert "pickle" in said and "kdcourse.training.save_weights" in said
    pickle.loads(pickle.dumps(trap))  # the trap does work
    assert sprung.exists()


@pytest.mark.parametrize(
    "cut",
    [0, 1, 4, 8, 9, 100, "end of header", "after header", "in the middle", "last byte", "one byte more"],
)
def test_a_truncated_file(tmp_path: Path, load: Callable[[Path], object], cut: int | str) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(net(), path)
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    ends = {
        "end of header": header - 1,
        "after header": header,
        "in the middle": (header + len(content)) // 2,
        "last byte": len(content) - 1,
    }
    end = cut if isinstance(cut, int) else ends.get(cut, len(content))
    path.write_bytes(content[:end] + b"x" * (cut == "one byte more"))
    size = path.stat().st_size
    with pytest.raises(
        CheckpointError, match=rf"\({size} bytes\) is not a whole safetensors file.*again"
    ) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b'{"not": "tensors"}',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n",
        (12).to_bytes(8, "little") + b"{not json!!!" + bytes(100),
        (2).to_bytes(8, "little") + b"[]",
        b"\xff" * 64,
        save({"a": torch.zeros(1)}, {"kdcourse": "{garbage"}),
        save({"a": torch.zeros(1)}, {"kdcourse": "[1, 2]"}),
    ],
)
def test_garbage(tmp_path: Path, load: Callable[[Path], object], content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is not a whole safetensors file.*again") as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_folder_or_nothing_at_all(tmp_path: Path, load: Callable[[Path], object]) -> None:
    with pytest.raises(CheckpointError, match="is a folder; name the file") as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(CheckpointError, match=r"no file .*missing.safetensors\. Check the path"):
        load_weights(net(), tmp_path / "missing.safetensors")


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all"
)
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(net(), path)
    path.chmod(0)
    with pytest.raises(CheckpointError, match=r"model.safetensors"):
        load_weights(net(), path)


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(net(), path)
    other = nn.Sequential(nn.Linear(3, 2))
    before = tiny.state(other)
    with pytest.raises(CheckpointError) as caught:
        load_weights(other, path)
    said = str(caught.value)
    assert "model.safetensors holds weights of another architecture than Sequential" in said
    assert "missing in the file: 0.bias, 0.weight" in said and "unknown to the model: first.bias" in said
    assert "Build the model with the name and options" in said
    assert tiny.same_state(other, before)
    with pytest.raises(
        CheckpointError, match=r"other shapes: .*head.weight \[4, 8\] in the file, \[7, 8\] in the"
    ):
        load_weights(net(classes=7), path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(tmp_path: Path, value: float) -> None:
    path = tmp_path / "model.safetensors"
    state = tiny.state(net())
    state["head.weight"][1, 2] = value
    write_tensors(path, state, {})
    model = net(3)
    before = tiny.state(model)
    with pytest.raises(
        CheckpointError, match=r"model.safetensors holds .* not finite, in head.weight.*lower learn"
    ):
        load_weights(model, path)
    assert tiny.same_state(model, before)


@pytest.mark.parametrize("part", ["model.head.weight", "optimizer.0.momentum_buffer"])
def test_a_checkpoint_with_nan_inside(tmp_path: Path, part: str) -> None:
    path = tmp_path / "run.safetensors"
    fit(net(), tiny.dataset(), checkpoint=path, **FIT)
    tensors, notes = read_tensors(path)
    tensors[part].view(-1)[0] = float("nan")
    write_tensors(path, tensors, notes)
    with pytest.raises(
        CheckpointError, match=rf"run.safetensors holds .* not finite, in {part.removeprefix('model.')}"
    ):
        fit(net(), tiny.dataset(), checkpoint=path, **FIT)


@pytest.mark.parametrize(
    ("note", "value"),
    [
        ("history", "{garbage"),
        ("history", "[]"),
        ("history", None),
        ("position", {"epoch": 0, "elsewhere": 1}),
        ("position", 3),
        ("optimizer_numbers", None),
    ],
)
def test_a_checkpoint_with_garbled_notes(tmp_path: Path, note: str, value: object) -> None:
    path = tmp_path / "run.safetensors"
    fit(net(), tiny.dataset(), checkpoint=path, **FIT)
    tensors, notes = read_tensors(path)
    if value is None:
        del notes[note]
    else:
        notes[note] = value
    write_tensors(path, tensors, notes)
    with pytest.raises(CheckpointError, match=r"run.safetensors .*Delete it to start afresh"):
        fit(net(), tiny.dataset(), checkpoint=path, **FIT)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_compiled_and_parallel_networks_do_not_matter(prefix: str, tmp_path: Path) -> None:
    model, path = net(1), tmp_path / "model.safetensors"
    write_tensors(path, {prefix + name: tensor for name, tensor in model.state_dict().items()}, {})
    other = net(2)
    load_weights(other, path)
    assert tiny.same_state(other, tiny.state(model))


def test_a_parallel_network_takes_weights_of_a_plain_one_and_the_reverse(tmp_path: Path) -> None:
    model, plain, parallel = net(1), tmp_path / "plain.safetensors", tmp_path / "parallel.safetensors"
    save_weights(model, plain)
    wrapped = nn.DataParallel(net(2))
    load_weights(wrapped, plain)
    assert tiny.same_state(wrapped.module, tiny.state(model))
    save_weights(wrapped, parallel)
    other = net(3)
    load_weights(other, parallel)
    assert tiny.same_state(other, tiny.state(model))


def test_one_compiled_layer_inside_a_network(tmp_path: Path) -> None:
    model, path = net(1), tmp_path / "model.safetensors"
    tensors = {name.replace("head.", "head._orig_mod."): value for name, value in model.state_dict().items()}
    assert tensors.keys() != model.state_dict().keys()
    write_tensors(path, tensors, {})
    other = net(2)
    load_weights(other, path)
    assert tiny.same_state(other, tiny.state(model))


def test_a_layer_that_is_called_module_keeps_its_name(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model, other = (nn.ModuleDict({"module": nn.Linear(2, 3), "weight": nn.Linear(3, 2)}) for _ in range(2))
    save_weights(model, path)
    load_weights(other, path)
    assert tiny.same_state(other, tiny.state(model))


def test_prefixes_do_not_make_another_architecture_fit(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_tensors(
        path,
        {f"module.{name}": value for name, value in net(1).state_dict().items()}
        | {"module.x": torch.zeros(1)},
        {},
    )
    with pytest.raises(CheckpointError, match=r"unknown to the model: module\.x"):
        load_weights(net(2), path)


def test_lazy_layers_take_the_shapes_of_the_weights(tmp_path: Path) -> None:
    path, model = tmp_path / "model.safetensors", nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    save_weights(model, path)
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    load_weights(lazy, path)
    images = torch.randn(2, 3, 2, 2)
    assert torch.equal(lazy(images), model(images))
