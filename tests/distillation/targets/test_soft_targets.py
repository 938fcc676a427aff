"""Stored logits are the teacher's own, for the very picture and view, and never stale, half written or damaged."""

from __future__ import annotations

import copy
import errno
import hashlib
import importlib
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdcourse import files
from kdcourse.data import Batches, Dataset, Split, View
from kdcourse.distillation import Ensemble, SoftTargets, cache_folder, freeze, soft_targets, teacher_digest
from kdcourse.errors import ArgumentError
from tests.distillation import tiny

VIEWS = (View(), View(tiny.AUGMENTATION, seed=1, number=0), View(tiny.AUGMENTATION, seed=1, number=1))


class Counting(tiny.Teacher):
    """Counts the pictures it is asked about; raises KeyboardInterrupt once a limit is passed.

    Two images alone are the trial of a memory layout, once per network (`kdcourse.models.layout`), and not counted.
    """

    pictures = 0
    limit = 10**9

    def forward(self, images: Tensor) -> Tensor:
        Counting.pictures += len(images) if len(images) > 2 else 0
        if Counting.pictures > Counting.limit:
            raise KeyboardInterrupt
        return super().forward(images)


@pytest.fixture(autouse=True)
def _reset() -> None:
    Counting.pictures, Counting.limit = 0, 10**9


@pytest.fixture
def data() -> Dataset:
    return tiny.dataset()


def ask(teacher: nn.Module, data: Dataset, cache: Path | bool, **options: object) -> SoftTargets:
    settings: dict[str, object] = {"views": VIEWS, "progress": False, "batch_size": 32} | options
    return soft_targets(teacher, data.train, data, cache=cache, **settings)  # type: ignore[arg-type]


def everything(targets: SoftTargets) -> Tensor:
    index = torch.arange(len(targets))
    return torch.stack([targets.logits(view, index) for view in targets.views])


def directly(teacher: nn.Module, data: Dataset, view: View) -> Tensor:
    index = torch.arange(len(data.train))
    with torch.no_grad():
        return copy.deepcopy(teacher).eval()(data.normalise(view.apply(data.train.images, index)))


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-3), (torch.float32, 1e-5)])
def test_are_the_teachers_own_logits(
    data: Dataset, tmp_path: Path, dtype: torch.dtype, tolerance: float, cached: bool
) -> None:
    teacher = tiny.Teacher()
    targets = ask(teacher, data, tmp_path if cached else False, dtype=dtype)
    expected = torch.stack([directly(teacher, data, view) for view in VIEWS])
    torch.testing.assert_close(everything(targets), expected, rtol=tolerance, atol=tolerance)
    assert float((expected[0] - expected[1]).abs().max()) > 0.1  # views differ, so a mix-up would show
    assert targets.views == VIEWS and len(targets) == 70 and targets.classes == 4
    assert targets.nbytes == 3 * 70 * 4 * dtype.itemsize
    assert targets.logits(VIEWS[0], torch.tensor([3, 3, 1])).shape == (3, 4)
    assert "3 view(s), 70 images, 4 classes" in repr(targets)
    assert [file is not None for file in targets.files] == [cached] * 3


def test_are_computed_once(data: Dataset, tmp_path: Path) -> None:
    first = ask(Counting(), data, tmp_path)
    assert Counting.pictures == 3 * 70
    Counting.pictures = 0
    second = ask(Counting(), data, tmp_path)
    assert Counting.pictures <= 16  # the few that stand for all
    assert torch.equal(everything(first), everything(second))
    more = ask(Counting(), data, tmp_path, views=(*VIEWS, View(tiny.AUGMENTATION, seed=1, number=2)))
    assert Counting.pictures <= 70 + 2 * 16
    assert torch.equal(everything(more)[:3], everything(first))
    assert len(list(tmp_path.iterdir())) == 4
    # Any tool that reads .npy reads a file as it is.
    np.testing.assert_array_equal(np.load(first.files[0]), everything(first)[0].numpy())


def test_default_folder(monkeypatch: pytest.MonkeyPatch, data: Dataset, tmp_path: Path) -> None:
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here" / "soft-targets"
    targets = soft_targets(tiny.Teacher(), data.validation, data, progress=True)
    assert targets.files[0].parent == cache_folder()
    monkeypatch.delenv("KDCOURSE_CACHE")
    assert cache_folder().name == "soft-targets" and "kdcourse" in cache_folder().parts


def test_each_computed_batch_is_announced(data: Dataset, tmp_path: Path) -> None:
    batches: list[int] = []
    teacher, options = tiny.Teacher(), {"cache": tmp_path, "progress": False, "batch_size": 32}
    soft_targets(teacher, data.train, data, after_batch=lambda: batches.append(1), **options)  # type: ignore[arg-type]
    assert len(batches) == -(-len(data.train) // 32) > 1
    soft_targets(teacher, data.train, data, after_batch=lambda: batches.append(1), **options)  # type: ignore[arg-type]
    assert len(batches) == -(-len(data.train) // 32)  # the second time everything is stored


def test_teacher_is_left_as_found(data: Dataset) -> None:
    teacher = tiny.Teacher().train()
    teacher.norm.eval()
    before = tiny.state(teacher)
    targets = ask(teacher, data, False)
    assert teacher.training and not teacher.norm.training and tiny.same_state(teacher, before)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in teacher.parameters())
    assert not everything(targets).requires_grad
    # Asked in eval mode although found in train mode: dropout and batch statistics would show.
    torch.testing.assert_close(everything(targets)[0], directly(teacher, data, View()), rtol=1e-3, atol=1e-3)
    Counting.limit = 40
    interrupted = Counting().train()
    with pytest.raises(KeyboardInterrupt):
        ask(interrupted, data, False)
    assert interrupted.training and interrupted.norm.training


class TestPairing:
    def test_shuffled_augmented_batches_meet_their_own_logits(self, data: Dataset, tmp_path: Path) -> None:
        teacher = tiny.Teacher().eval()
        batches = Batches(data.train, data, batch_size=16, seed=5, augmentation=tiny.AUGMENTATION, views=2)
        targets = ask(teacher, data, tmp_path, views=[batches.view(0), batches.view(1)])

        def pairs_up(look_up: Callable[[View, Tensor, int], Tensor]) -> bool:
            with torch.no_grad():
                return all(
                    torch.allclose(
                        look_up(batch.view, batch.index, step * 16), teacher(batch.images), atol=0.01
                    )
                    for epoch in range(4)
                    for step, batch in enumerate(batches.epoch(epoch))
                )

        assert pairs_up(lambda view, index, start: targets.logits(view, index))
        broken = {
            "by position in the epoch": lambda view, index, start: targets.logits(
                view, torch.arange(start, start + len(index))
            ),
            "another view": lambda view, index, start: targets.logits(
                batches.view(1) if view == batches.view(0) else batches.view(0), index
            ),
            "always the first view": lambda view, index, start: targets.logits(batches.view(0), index),
            "shuffled again": lambda view, index, start: targets.logits(view, index.roll(1)),
        }
        for name, look_up in broken.items():
            assert not pairs_up(look_up), name

    def test_permuted_split_has_logits_of_its_own(self, data: Dataset, tmp_path: Path) -> None:
        teacher, order = tiny.Teacher(), torch.randperm(70, generator=torch.Generator().manual_seed(1))
        first = soft_targets(teacher, data.train, data, cache=tmp_path, progress=False)
        permuted = data.train.subset(order)
        second = soft_targets(teacher, permuted, data, cache=tmp_path, progress=False)
        torch.testing.assert_close(
            second.logits(View(), torch.arange(70)), first.logits(View(), order), atol=1e-2, rtol=1e-2
        )
        assert first.files != second.files and first.split_digest != second.split_digest
        index = torch.arange(20)
        second.check_labels(View(), index, permuted.labels[index])
        with pytest.raises(ArgumentError, match=r"\d+ of 20 images have another label"):
            first.check_labels(View(), index, permuted.labels[index])

    def test_what_is_not_held_is_refused(self, data: Dataset) -> None:
        targets = ask(tiny.Teacher(), data, False)
        with pytest.raises(ArgumentError, match=r"'shift1.*seed1-view7'; found 'plain', 'shift1"):
            targets.logits(View(tiny.AUGMENTATION, seed=1, number=7), torch.arange(3))
        for outside in (-1, 70):
            with pytest.raises(ArgumentError, match=r"0\.\.69"):
                targets.logits(View(), torch.tensor([0, outside]))
        with pytest.raises(ArgumentError, match=r"torch\.float32"):
            targets.logits(View(), torch.zeros(3))
        assert targets.logits(View(), torch.arange(0)).shape == (0, 4)

    def test_what_is_handed_out_cannot_change_what_is_held(self, data: Dataset, tmp_path: Path) -> None:
        targets = ask(tiny.Teacher(), data, tmp_path, dtype=torch.float32)
        before, content = everything(targets), targets.files[0].read_bytes()
        targets.logits(View(), torch.arange(70)).zero_()
        assert torch.equal(everything(targets), before) and targets.files[0].read_bytes() == content

    def test_look_up_on_another_device(self, data: Dataset) -> None:
        targets = ask(tiny.Teacher(), data, False)
        found = targets.logits(View(), torch.empty(5, dtype=torch.int64, device="meta"))
        assert found.device.type == "meta" and found.shape == (5, 4) and found.dtype == torch.float32
        held = targets._on_device
        assert len(held) == 1
        targets.logits(View(), torch.empty(5, dtype=torch.int64, device="meta"))
        assert len(held) == 1


def _with(change: Callable[[tiny.Teacher], object]) -> nn.Module:
    teacher = tiny.Teacher()
    with torch.no_grad():
        change(teacher)
    return teacher


def _leaky() -> nn.Module:
    return nn.Sequential(nn.LeakyReLU(0.2), *tiny.quarter_reader())


class TestStale:
    @pytest.mark.parametrize(
        "changed",
        [
            lambda: _with(lambda t: t.head.weight[0, 0].add_(1e-3)),
            lambda: _with(lambda t: t.head.bias.copy_(t.head.bias.flip(0))),
            lambda: _with(lambda t: t.norm.running_var.add_(0.1)),
            lambda: _with(lambda t: setattr(t.norm, "eps", 0.1)),
            lambda: nn.Sequential(tiny.Teacher()),
            lambda: Ensemble([tiny.Teacher()]),
        ],
        ids=["one weight", "bias order", "statistics", "setting", "other class", "ensemble"],
    )
    def test_changed_teacher(self, data: Dataset, tmp_path: Path, changed: Callable[[], nn.Module]) -> None:
        first, second = ask(tiny.Teacher(), data, tmp_path), ask(changed(), data, tmp_path)
        assert not set(first.files) & set(second.files)
        assert first.teacher != second.teacher
        torch.testing.assert_close(
            everything(second)[0], directly(changed(), data, View()), rtol=1e-3, atol=1e-3
        )

    def test_digest_names_the_network_not_its_circumstances(self) -> None:
        teacher = tiny.Teacher()
        digest = teacher_digest(teacher)
        assert digest == teacher_digest(tiny.Teacher()) == teacher_digest(copy.deepcopy(teacher).train())
        assert digest == teacher_digest(teacher.requires_grad_(False)) == teacher_digest(freeze(teacher))
        members = [tiny.Teacher(0), tiny.Teacher(1)]
        digests = {
            teacher_digest(model)
            for model in (
                Ensemble(members),
                Ensemble(members, "probabilities"),
                Ensemble(members[::-1]),
                Ensemble(members[:1]),
                _leaky(),
                nn.Sequential(nn.LeakyReLU(0.3), *tiny.quarter_reader()),
                nn.Sequential(nn.ReLU(), *tiny.quarter_reader()),
                tiny.Teacher().bfloat16(),
            )
        }
        assert len(digests) == 8

        class WithFunction(tiny.Teacher):
            def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
                super().__init__()
                self.activation, self.sizes, self.note = activation, (1, (2, "x")), {"not": "described"}

        assert teacher_digest(WithFunction(torch.relu)) != teacher_digest(WithFunction(torch.sigmoid))

    def test_changed_code_is_noticed(self, data: Dataset, tmp_path: Path) -> None:
        teacher = tiny.Teacher()
        first = ask(teacher, data, tmp_path)
        original = tiny.Teacher.forward
        try:
            tiny.Teacher.forward = lambda self, images: -2 * original(self, images)  # type: ignore[method-assign]
            assert teacher_digest(teacher) == first.teacher
            with pytest.warns(UserWarning, match="has its code changed"):
                second = ask(teacher, data, tmp_path)
        finally:
            tiny.Teacher.forward = original  # type: ignore[method-assign]
        torch.testing.assert_close(everything(second), -2 * everything(first), rtol=1e-2, atol=1e-2)

    def test_changed_data_or_settings(self, data: Dataset, tmp_path: Path) -> None:
        teacher = tiny.Teacher()
        pixel = data.train.images.clone()
        pixel[33, 0, 4, 4] ^= 1
        labels = data.train.labels.clone()
        labels[0] = (labels[0] + 1) % 4
        train = data.train
        variants: list[tuple[Split, Dataset, dict[str, object]]] = [
            (train, data, {}),
            (Split(pixel, train.labels), data, {}),
            (Split(train.images, labels), data, {}),
            (train.subset(torch.arange(69)), data, {}),
            (train, Dataset("quarters", data.classes, train, data.validation, data.test, (0.5,), (0.5,)), {}),
            (train, data, {"dtype": torch.float32}),
            (train, data, {"precision": "bfloat16"}),
            (train, data, {"views": VIEWS[1:2]}),
            (train, data, {"views": VIEWS[2:]}),
            (train, data, {"views": [View(tiny.AUGMENTATION, seed=2, number=0)]}),
        ]
        found = set()
        for split, dataset, options in variants:
            targets = soft_targets(teacher, split, dataset, cache=tmp_path, progress=False, **options)  # type: ignore[arg-type]
            found.add(targets.files[0])
        assert len(found) == len(variants)

    def test_changed_augmentation_code_is_noticed(
        self, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The name of a view stays when someone edits how views are drawn; its pictures don't."""
        first = ask(tiny.Teacher(), data, tmp_path)
        original = View.apply
        monkeypatch.setattr(View, "apply", lambda self, images, index: original(self, images, index).flip(-1))
        second = ask(tiny.Teacher(), data, tmp_path)
        assert not set(first.files) & set(second.files)


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    file.write_bytes(content)


def _sealed(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


class TestShipped:
    """Some soft targets come with the course."""

    @pytest.fixture
    def course(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Dataset) -> Path:
        folder = tmp_path / "course" / "soft-targets"
        ask(Counting(), data, folder)
        module = importlib.import_module("kdcourse.distillation.targets.soft_targets")
        monkeypatch.setattr(module, "shipped", lambda name: tmp_path / "course" / name)
        Counting.pictures = 0
        return folder

    def test_are_read_in_place_and_spare_the_teacher(
        self, data: Dataset, tmp_path: Path, course: Path
    ) -> None:
        expected = everything(ask(tiny.Teacher(), data, cache=False))
        targets = ask(Counting(), data, tmp_path / "cache")
        torch.testing.assert_close(everything(targets), expected, atol=5e-3, rtol=1e-3)
        assert Counting.pictures <= 16  # a few are asked again, to see that the answers still hold
        assert {file.parent for file in targets.files if file} == {course}
        assert not (tmp_path / "cache").exists()

    def test_damaged_or_missing_ones_are_computed_into_the_cache(
        self, data: Dataset, tmp_path: Path, course: Path
    ) -> None:
        first, second, _ = sorted(course.glob("*.npy"))
        content = first.read_bytes()
        first.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
        second.unlink()
        with pytest.warns(UserWarning, match="its checksum doesn't fit"):
            targets = ask(Counting(), data, tmp_path / "cache")
        assert {file.name for file in (tmp_path / "cache").iterdir()} == {first.name, second.name}
        assert sum(file.parent == course for file in targets.files if file) == 1
        torch.testing.assert_close(
            everything(targets), everything(ask(tiny.Teacher(), data, cache=False)), atol=5e-3, rtol=1e-3
        )

    def test_are_not_looked_at_without_a_cache_or_for_another_teacher(
        self, data: Dataset, tmp_path: Path, course: Path
    ) -> None:
        ask(Counting(), data, cache=False)
        assert Counting.pictures == 3 * len(data.train)
        Counting.pictures = 0
        ask(Counting(seed=5), data, tmp_path / "cache")
        assert Counting.pictures == 3 * len(data.train)


class TestDamage:
    @pytest.mark.parametrize(
        "damage",
        [
            _flip,
            lambda file: file.write_bytes(file.read_bytes()[:-40]),
            lambda file: file.write_bytes(file.read_bytes()[:100]),
            lambda file: file.write_bytes(b""),
            lambda file: file.write_bytes(file.read_bytes() + b"more"),
            lambda file: file.write_bytes(_sealed(b"not numpy's format")),
            lambda file: file.write_bytes(_sealed(b"")),
            lambda file: np.save(file, np.zeros((70, 4), np.float16)),
        ],
        ids=["one bit", "truncated", "header only", "empty", "longer", "no array", "no bytes", "unsealed"],
    )
    def test_is_found_and_mended(
        self, data: Dataset, tmp_path: Path, damage: Callable[[Path], object]
    ) -> None:
        expected = everything(ask(Counting(), data, tmp_path))
        file = ask(Counting(), data, tmp_path).files[1]
        damage(file)
        Counting.pictures = 0
        with pytest.warns(UserWarning, match=f"{file.name} can't be used .*computing them again"):
            targets = ask(Counting(), data, tmp_path)
        assert torch.equal(everything(targets), expected)
        assert Counting.pictures <= 70 + 16  # one view only, and the few that stand for all
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert torch.equal(everything(ask(Counting(), data, tmp_path)), expected)

    def test_sound_file_of_another_shape(self, data: Dataset, tmp_path: Path) -> None:
        file = ask(tiny.Teacher(), data, tmp_path, views=VIEWS[:1]).files[0]
        np.save(file, np.zeros((69, 4), np.float16))
        file.write_bytes(_sealed(file.read_bytes()))
        with pytest.warns(UserWarning, match=r"it holds float16 \[69, 4\]"):
            targets = ask(tiny.Teacher(), data, tmp_path, views=VIEWS[:1])
        assert len(targets) == 70

    def test_pickles_are_never_loaded(self, data: Dataset, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[object, ...]:
                return os.mkdir, (str(tmp_path / "exploded"),)

        file = ask(tiny.Teacher(), data, tmp_path, views=VIEWS[:1]).files[0]
        np.save(file, np.array([[Bomb()]], dtype=object), allow_pickle=True)
        file.write_bytes(_sealed(file.read_bytes()))
        with pytest.warns(UserWarning, match="can't be used"):
            ask(tiny.Teacher(), data, tmp_path, views=VIEWS[:1])
        assert not (tmp_path / "exploded").exists()


class TestWriting:
    def test_interrupted_call_keeps_complete_views(self, data: Dataset, tmp_path: Path) -> None:
        Counting.limit = 2 * 70 + 32
        with pytest.raises(KeyboardInterrupt):
            ask(Counting(), data, tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
        Counting.pictures, Counting.limit = 0, 10**9
        targets = ask(Counting(), data, tmp_path)
        assert Counting.pictures <= 70 + 16
        assert torch.equal(everything(targets), everything(ask(Counting(), data, False)))

    def test_interrupted_while_writing(
        self, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(source: object, target: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", interrupt)
            with pytest.raises(KeyboardInterrupt):
                ask(tiny.Teacher(), data, tmp_path)
        assert not list(tmp_path.iterdir())
        assert len(ask(tiny.Teacher(), data, tmp_path)) == 70

    @pytest.mark.parametrize("call", ["fsync", "replace", "fdopen"])
    def test_full_disk(
        self, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        expected = everything(ask(tiny.Teacher(), data, False))

        def full(*arguments: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(files.os, call, full)
            with pytest.warns(UserWarning, match=r"No space left on device.*going on with them in memory"):
                targets = ask(tiny.Teacher(), data, tmp_path)
        assert torch.equal(everything(targets), expected)
        assert targets.files == (None, None, None) and not list(tmp_path.iterdir())
        assert ask(tiny.Teacher(), data, tmp_path).files[0].exists()

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
    def test_write_that_ends_half_way(self, data: Dataset, tmp_path: Path) -> None:
        """The system itself refuses to write on, in the middle of a file."""
        import resource

        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
        try:
            with pytest.warns(UserWarning, match="going on with them in memory"):
                targets = ask(tiny.Teacher(), data, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert torch.equal(everything(targets), everything(ask(tiny.Teacher(), data, False)))
        assert not list(tmp_path.iterdir())

    def test_folder_that_cannot_be_made(self, data: Dataset, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.warns(UserWarning, match="KDCOURSE_CACHE"):
            targets = ask(tiny.Teacher(), data, tmp_path / "file" / "folder")
        assert len(targets) == 70

    def test_what_killed_processes_left_is_swept_up(self, data: Dataset, tmp_path: Path) -> None:
        old, new = tmp_path / ".x.npy.kdcourse-abc.tmp", tmp_path / ".x.npy.kdcourse-def.tmp"
        old.write_bytes(b"half")
        new.write_bytes(b"another process is writing this")
        os.utime(old, (time.time() - 2 * 86400,) * 2)
        ask(tiny.Teacher(), data, tmp_path)
        assert not old.exists() and new.exists()

    def test_second_writer_between_writing_and_replacing(
        self, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replace, nested = os.replace, []

        def replace_after_another(source: str, target: str) -> None:
            if not nested:
                nested.append(None)
                nested[0] = ask(tiny.Teacher(), data, tmp_path)
            replace(source, target)

        monkeypatch.setattr(os, "replace", replace_after_another)
        outer = ask(tiny.Teacher(), data, tmp_path)
        assert torch.equal(everything(outer), everything(nested[0]))
        assert len(list(tmp_path.iterdir())) == 3

    @pytest.mark.slow
    @pytest.mark.timeout(900)
    def test_two_processes_at_once(self, data: Dataset, tmp_path: Path) -> None:
        script = tmp_path / "writer.py"
        script.write_text(
            "import sys, time, hashlib, torch\n"
            "from pathlib import Path\n"
            "from tests.distillation import tiny\nfrom tests.distillation.targets import test_soft_targets as t\n"
            "cache, ready, go = map(Path, sys.argv[1:])\n"
            "data, views = tiny.dataset(), [t.View(tiny.AUGMENTATION, 3, n) for n in range(25)]\n"
            "ready.touch()\n"
            "while not go.exists(): time.sleep(0.001)\n"
            "targets = t.ask(tiny.Teacher(), data, cache, views=views)\n"
            "print(hashlib.sha256(t.everything(targets).numpy().tobytes()).hexdigest())\n"
        )
        go, cache = tmp_path / "go", tmp_path / "cache"
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONWARNINGS": "error::UserWarning",
        }
        writers = [
            subprocess.Popen(
                [sys.executable, str(script), str(cache), str(tmp_path / f"ready{n}"), str(go)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                text=True,
            )
            for n in range(2)
        ]
        try:
            while not all((tmp_path / f"ready{n}").exists() for n in range(2)):
                assert all(writer.poll() is None for writer in writers), writers[0].communicate()
                time.sleep(0.05)
            go.touch()
            answers = [writer.communicate() for writer in writers]
        finally:
            for writer in writers:
                writer.kill()
        assert [writer.returncode for writer in writers] == [0, 0], answers
        views = [View(tiny.AUGMENTATION, 3, number) for number in range(25)]
        expected = hashlib.sha256(
            everything(ask(tiny.Teacher(), data, False, views=views)).numpy().tobytes()
        ).hexdigest()
        assert {out.strip() for out, _ in answers} == {expected}
        assert len(list(cache.iterdir())) == 25 and all(file.suffix == ".npy" for file in cache.iterdir())


class TestNumbers:
    def test_beyond_float16_is_kept_in_float32(self, data: Dataset, tmp_path: Path) -> None:
        teacher = _with(lambda t: t.head.weight.mul_(1e6))
        with pytest.warns(UserWarning, match="beyond float16's 65504"):
            first = ask(teacher, data, tmp_path, views=VIEWS[:1])
        assert first.nbytes == 70 * 4 * 4 and bool(torch.isfinite(everything(first)).all())
        torch.testing.assert_close(everything(first)[0], directly(teacher, data, View()), rtol=1e-4, atol=1)
        assert bool(torch.isinf(directly(teacher, data, View()).half()).any())  # what would have been stored
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert torch.equal(everything(ask(teacher, data, tmp_path, views=VIEWS[:1])), everything(first))

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_not_finite(self, data: Dataset, tmp_path: Path, value: float) -> None:
        teacher = _with(lambda t: t.head.bias[1].fill_(value))
        with pytest.raises(ArgumentError, match="NaN or infinity for 32 of 32 images"):
            ask(teacher, data, tmp_path)
        assert not list(tmp_path.iterdir())

    def test_bfloat16_and_double_teachers(self, data: Dataset) -> None:
        plain = everything(ask(tiny.Teacher(), data, False, dtype=torch.float32))
        rounded = everything(ask(tiny.Teacher(), data, False, dtype=torch.float32, precision="bfloat16"))
        assert 1e-4 < float((plain - rounded).abs().max()) < 0.1
        double = everything(ask(tiny.Teacher().double(), data, False, dtype=torch.float32))
        torch.testing.assert_close(double, plain, atol=1e-4, rtol=1e-4)


def test_bad_arguments(data: Dataset) -> None:
    teacher = tiny.Teacher()
    for options, found in (
        ({"views": []}, "found none"),
        ({"views": [View(), View(seed=3)]}, "found 'plain', 'plain'"),
        ({"dtype": torch.bfloat16}, "found torch.bfloat16"),
        ({"precision": "float8"}, "found 'float8'"),
        ({"batch_size": 0}, "found 0"),
    ):
        with pytest.raises(ArgumentError, match=found):
            ask(teacher, data, False, **options)
    colour = Split(data.train.images.expand(-1, 3, -1, -1), data.train.labels)
    with pytest.raises(ArgumentError, match=r"3 channel\(s\), while 'quarters' normalises 1"):
        soft_targets(teacher, colour, data, cache=False)
    with pytest.raises(ArgumentError, match=r"nn\.Module; found function"):
        soft_targets(lambda images: images, data.train, data, cache=False)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="returned"):
        soft_targets(nn.Identity(), data.train, data, cache=False, progress=False)
