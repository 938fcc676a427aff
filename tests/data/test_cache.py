"""Folders larger than memory: decoded once into memory-mapped files, resumed, shared, never half a file."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kdcourse.data import Dataset, SegmentationDataset, image_folder, reading, segmentation_folder
from kdcourse.errors import ArgumentError, DataError, DataWarning


def fill(root: Path, count: int = 12, colour_from: int = 6) -> Path:
    """Noise of two classes, the second of which turns to colour."""
    for at, name in enumerate(("ant", "bee")):
        (root / name).mkdir(parents=True)
        for number in range(count):
            values = np.random.default_rng(100 * at + number).integers(0, 256, (9, 7, 3)).astype(np.uint8)
            if at == 0 or number < colour_from:
                values[...] = values[..., :1]
            Image.fromarray(values).save(root / name / f"{number:03}.png")
    return root


@pytest.fixture
def bugs(tmp_path: Path) -> Path:
    return fill(tmp_path / "bugs")


@pytest.fixture
def leaves(bugs: Path, tmp_path: Path) -> Path:
    """The same images, with masks."""
    for kind in ("images", "masks"):
        (tmp_path / "leaves" / kind).mkdir(parents=True)
    for number, file in enumerate(sorted(bugs.rglob("*.png"))):
        shutil.copy(file, tmp_path / "leaves" / "images" / f"{number}.png")
        mask = np.random.default_rng(number).integers(0, 3, (9, 7)).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / "leaves" / "masks" / f"{number}.png")
    return tmp_path / "leaves"


def read(root: Path, **options: Any) -> Dataset:
    return image_folder(root, **({"size": 8, "progress": False} | options))


def load(root: Path, **options: Any) -> SegmentationDataset:
    return segmentation_folder(root / "images", root / "masks", **({"size": 8, "progress": False} | options))


def digests(data: Dataset | SegmentationDataset) -> list[str]:
    return [data.train.digest, data.validation.digest, data.test.digest]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Positions of the files that are decoded."""
    told: list[int] = []
    true_each = reading.each

    def watched(function: Any, items: Any) -> Any:
        def counted(item: Any) -> Any:
            told.append(item)
            return function(item)

        return true_each(counted, items)

    monkeypatch.setattr(reading, "each", watched)
    return told


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_the_same_as_in_memory(bugs: Path, tmp_path: Path, channels: int | None) -> None:
    here, there = read(bugs, channels=channels), read(bugs, channels=channels, cache=tmp_path / "cache")
    assert digests(here) == digests(there) and here.classes == there.classes
    assert (here.mean, here.std, here.name) == (there.mean, there.std, there.name)
    assert here.image_shape[0] == (channels or 3)


def test_a_grey_folder_stays_grey(tmp_path: Path) -> None:
    root = fill(tmp_path / "grey", colour_from=99)
    here, there = read(root), read(root, cache=tmp_path / "cache")
    assert here.image_shape == there.image_shape == (1, 8, 8) and digests(here) == digests(there)


def test_masks_too(leaves: Path, tmp_path: Path, decoded: list[int]) -> None:
    here = load(leaves)
    there = load(leaves, cache=tmp_path / "cache")
    assert digests(here) == digests(there) and here.classes == there.classes == (
        "class 0",
        "class 1",
        "class 2",
    )
    decoded.clear()
    assert digests(load(leaves, cache=tmp_path / "cache")) == digests(here) and not decoded
    load(leaves, cache=tmp_path / "cache", palette={(k, k, k): 2 - k for k in range(3)})
    assert decoded


def test_decoded_once_and_again_where_something_changes(
    bugs: Path, tmp_path: Path, decoded: list[int]
) -> None:
    cache = tmp_path / "cache"

    def count(**options: Any) -> int:
        decoded.clear()
        read(bugs, cache=cache, **options)
        return len(decoded)

    assert [count(), count()] == [24, 0]
    for options in ({"size": 9}, {"fit": "pad"}, {"fit": "pad", "background": 0}, {"channels": 1}):
        assert [count(**options), count(**options)] == [24, 0], options
    assert [count(fractions=(0.3, 0.3)), count(fractions=(0.3, 0.3)), count()] == [24, 0, 0]
    changed = bugs / "ant" / "003.png"
    os.utime(changed, ns=(1, 1))
    assert [count(), count()] == [24, 0]
    changed.rename(bugs / "ant" / "new.png")
    assert [count(), count()] == [24, 0]
    changed.write_bytes((bugs / "bee" / "003.png").read_bytes())
    with pytest.warns(DataWarning, match="two classes"):
        assert count() == 25
    with pytest.warns(DataWarning, match="two classes"):  # what there is to say is said every time
        assert count() == 0


def test_the_users_cache(bugs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "cache_folder", lambda: tmp_path / "user")
    read(bugs, cache=True)
    [kept] = [path for path in (tmp_path / "user" / "folders").iterdir() if path.is_dir()]
    assert kept.name.startswith("bugs-")


def test_images_are_mapped_and_the_file_is_never_written_to(bugs: Path, tmp_path: Path) -> None:
    data = read(bugs, cache=tmp_path / "cache")
    [file] = (tmp_path / "cache").glob("*/images-*.u8")
    before = file.read_bytes()
    assert data.train.images.numpy().tobytes() == before[: data.train.images.numel()]
    data.train.images[0] = 7
    assert data.train.images[0].unique().tolist() == [7] and file.read_bytes() == before
    starts = [split.images.data_ptr() for split in (data.train, data.validation, data.test)]
    assert starts[1] - starts[0] == data.train.images.numel(), "three windows into one file"


def test_damage_is_remembered(bugs: Path, tmp_path: Path, decoded: list[int]) -> None:
    (bugs / "ant" / "bad.png").write_bytes(b"x")
    for _ in range(2):
        with pytest.raises(DataError, match="1 of 25 images can't be read"):
            read(bugs, cache=tmp_path / "cache")
    with pytest.warns(DataWarning, match="can't be read: ant/bad.png"):
        data = read(bugs, cache=tmp_path / "cache", skip_damaged=True)
    assert len(decoded) == 25 and len(data.left_out) == 1
    with pytest.warns(DataWarning):
        assert digests(data) == digests(read(bugs, skip_damaged=True))


@pytest.mark.parametrize("stop_at", [0, 3, 17, 23])
def test_an_interrupted_build_goes_on(
    bugs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """Before and after the first colour image, for which what was written is widened."""
    true_each = reading.each

    def interrupted(function: Any, items: Any) -> Any:
        for number, result in enumerate(true_each(function, items)):
            if number == stop_at:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(reading, "each", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(bugs, cache=tmp_path / "cache")
    [partial] = (tmp_path / "cache").glob("*.part")
    seen: list[int] = []

    def watched(function: Any, items: Any) -> Any:
        seen.extend(items)
        return true_each(function, items)

    monkeypatch.setattr(reading, "each", watched)
    data = read(bugs, cache=tmp_path / "cache")
    assert seen == list(range(stop_at, 24)) and not partial.exists()
    assert digests(data) == digests(read(bugs))


@pytest.mark.parametrize("harm", ["longer", "shorter", "no note", "half a note"])
def test_what_a_killed_process_left_is_used_only_where_it_is_sound(
    bugs: Path, tmp_path: Path, harm: str
) -> None:
    right = digests(read(bugs, cache=tmp_path / "cache"))
    [final] = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    partial = final.rename(final.with_name(f"{final.name}.part"))
    [images], note = list(partial.glob("images-*")), partial / "progress.json"
    told = json.loads(note.read_text())
    told["read"] = 20
    note.write_text(json.dumps(told))
    if harm == "longer":  # written after the last note
        assert images.stat().st_size > 20 * 3 * 64
    elif harm == "shorter":
        os.truncate(images, 1000)
    elif harm == "no note":
        note.unlink()
    else:
        note.write_text(note.read_text()[:20])
    assert digests(read(bugs, cache=tmp_path / "cache")) == right


@pytest.mark.parametrize("harm", ["cut", "gone", "note"])
def test_a_finished_cache_that_was_changed_is_made_again(
    bugs: Path, tmp_path: Path, harm: str, decoded: list[int]
) -> None:
    right = digests(read(bugs, cache=tmp_path / "cache"))
    [images] = (tmp_path / "cache").glob("*/images-*")
    if harm == "cut":
        os.truncate(images, 1000)
    elif harm == "gone":
        images.unlink()
    else:
        (images.parent / "progress.json").write_text("{}")
    decoded.clear()
    assert digests(read(bugs, cache=tmp_path / "cache")) == right and len(decoded) == 24


def build(root: Path, cache: Path, queue: Any) -> None:
    queue.put(digests(image_folder(root, 8, cache=cache, progress=False)))


def test_several_processes_make_one_cache(tmp_path: Path) -> None:
    root = fill(tmp_path / "bugs", 40)
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    queue = context.Queue()
    workers = [context.Process(target=build, args=(root, tmp_path / "cache", queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    told = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert told == [digests(read(root))] * 3
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 1


def test_places_that_will_not_do(bugs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match="must not lie inside the folder of images"):
        read(bugs, cache=bugs / "cache")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(DataError, match=r"can't be written or read: .*cache=FOLDER"):
        read(bugs, cache=tmp_path / "file")
    monkeypatch.setattr(reading.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 9))
    with pytest.raises(DataError, match="GB free"):
        read(bugs, cache=tmp_path / "cache")


def test_too_large_for_memory_is_said_before_reading(
    bugs: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    with pytest.raises(
        DataError, match=r"24 images would take at least [\d,.]+ GB in memory; .* Pass cache=True"
    ):
        read(bugs, size=600_000)
    assert not decoded


def test_waiting_results_are_few() -> None:
    """Threads that decode faster than the disk takes must not fill the memory."""
    ahead: list[int] = []
    taken = reading.each(ahead.append, range(10_000))
    next(taken)
    assert len(ahead) < 1000
    taken.close()


LIMITED = """
    import resource, sys, threading, warnings
    from pathlib import Path

    import torch
    from torch import nn

    from kdcourse import data, evaluation, training

    def private():
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmData:")[1].split()[0])

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 8, stride=8), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(torch.relu(self.conv(x)).mean((2, 3)))

    root, cache, size, total = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    settings = dict(epochs=1, batch_size=8, learning_rate=0.01, seed=0)
    settings |= dict(precision="float32", device="cpu", progress=False)
    torch.set_num_threads(1)
    warm = data.Split(torch.zeros(16, 3, 16, 16, dtype=torch.uint8), torch.arange(16) % 2)
    training.fit(Small(), data.Dataset("warm", ("a", "b"), warm, warm, warm), **settings)

    # All that this process may have beside what it has now, enforced by the kernel: private memory.
    # Pages of files don't count, as the kernel can drop and read them again.
    allowed = total // 3
    threading.stack_size(2**20)  # the usual 8 MB of each reading thread count, whether they are used or not
    resource.setrlimit(resource.RLIMIT_DATA, (private() + allowed,) * 2)
    if cache == "none":
        try:
            data.image_folder(root, size, progress=False)
        except (MemoryError, RuntimeError) as error:
            print("in memory:", type(error).__name__)
        sys.exit()
    found = data.image_folder(root, size, cache=cache, progress=False)
    assert sum(split.images.nbytes for split in (found.train, found.validation, found.test)) == total
    model = Small()
    training.fit(model, found, **settings)
    logits = evaluation.predict(model, found.test, found, batch_size=8)
    print("trained", found.train.digest[:8], bool(torch.isfinite(logits).all()), len(logits))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits private memory apart from files")
def test_trained_under_a_limit_of_a_third_of_the_data(tmp_path: Path) -> None:
    """RLIMIT_DATA: allocations beyond the limit fail. Read into memory, the same folder fails."""
    size, count = 256, 600
    root = tmp_path / "many"
    for at, name in enumerate(("ant", "bee")):
        (root / name).mkdir(parents=True)
        for number in range(count):
            values = np.random.default_rng(1000 * at + number).integers(0, 256, (4, 4, 3)).astype(np.uint8)
            Image.fromarray(values).save(root / name / f"{number:03}.png")
    total = 2 * count * 3 * size * size  # 236 MB
    script = tmp_path / "limited.py"
    script.write_text(textwrap.dedent(LIMITED))
    told = []
    # Threads that wait for malloc get memory of their own, the more of it the busier the machine is.
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
    # A process each: what the attempt in memory leaves behind would count against the other's limit.
    for cache in ("none", str(tmp_path / "cache")):
        ended = subprocess.run(
            [sys.executable, str(script), str(root), cache, str(size), str(total)],
            env=environment, capture_output=True, text=True, timeout=250, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-3000:]
        told.append(ended.stdout.strip())
    assert told[0].startswith("in memory: ")
    right = read(root, size=size, cache=tmp_path / "cache").train.digest[:8]
    assert told[1] == f"trained {right} True {2 * 60}"
