"""On tiny folders and archives in the true layout, and against a real HTTP server on this machine."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdcourse.data import IGNORE, SegmentationDataset, oxford_pets, pets
from kdcourse.data.download import download
from kdcourse.errors import ArgumentError, DataError

TRAINVAL = [f"Abyssinian_{number}" for number in range(5)] + [f"beagle_{number}" for number in range(5)]
TEST = ["Abyssinian_9", "beagle_100", "beagle_9"]
PARTS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # The pauses between rounds are download's own matter, and tested there.
    monkeypatch.setattr(pets, "fetch", functools.partial(download, pause=0.01))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Thirteen pictures in torchvision's layout: grey level 10, 20, ..., a pet on the left, then its seam."""
    root = tmp_path / "root"
    base = root / "oxford-iiit-pet"
    (base / "images").mkdir(parents=True)
    (base / "annotations" / "trimaps").mkdir(parents=True)
    for number, name in enumerate(TRAINVAL + TEST):
        size = (12, 12) if number % 2 else (24, 24)
        trimap = np.full(size[::-1], 2, np.uint8)
        trimap[:, : size[0] // 3] = 1
        trimap[:, size[0] // 3 : size[0] // 2] = 3
        Image.new("RGB", size, (10 * (number + 1),) * 3).save(base / "images" / f"{name}.jpg", quality=95)
        Image.fromarray(trimap).save(base / "annotations" / "trimaps" / f"{name}.png")
    for part, names in (("trainval", TRAINVAL), ("test", TEST)):
        lines = [
            f"{name} {1 + name.startswith('beagle')} {1 + name.startswith('beagle')} 1" for name in names
        ]
        (base / "annotations" / f"{part}.txt").write_text("\n".join(lines) + "\n")
    # What the published archives hold besides.
    (base / "images" / "Abyssinian_100.mat").write_bytes(b"x")
    (base / "annotations" / "trimaps" / "._Abyssinian_1.png").write_bytes(b"x")
    (base / "annotations" / "list.txt").write_text("#Image CLASS-ID SPECIES BREED ID\n")
    return root


def load(root: Path | None = None, **options: Any) -> SegmentationDataset:
    return oxford_pets(root, **({"size": 12, "validation": 0.2, "progress": False} | options))


def levels(data: SegmentationDataset) -> dict[str, list[int]]:
    """Which of the thirteen pictures each split holds, told by their grey level."""
    return {
        part: (getattr(data, part).images.double().mean((1, 2, 3)) / 10 - 1).round().long().tolist()
        for part in PARTS
    }


# What comes out ----------------------------------------------------------------------------------


def test_addresses_and_sums_are_torchvisions() -> None:
    from torchvision.datasets import OxfordIIITPet

    assert [(archive.urls[0], archive.md5) for archive in (pets.IMAGES, pets.ANNOTATIONS)] == list(
        OxfordIIITPet._RESOURCES
    )


def test_three_classes(root: Path) -> None:
    data = load(root)
    assert data.name == "Oxford-IIIT Pet" and data.classes == ("background", "pet", "border")
    assert data.image_shape == (3, 12, 12)
    expected = torch.tensor([1] * 4 + [2] * 2 + [0] * 6, dtype=torch.uint8).expand(12, 12)
    for part in PARTS:
        assert all(torch.equal(mask, expected) for mask in getattr(data, part).masks)


def test_a_border_that_is_ignored(root: Path) -> None:
    data = load(root, border="ignore")
    assert data.classes == ("background", "pet")
    expected = torch.tensor([1] * 4 + [IGNORE] * 2 + [0] * 6, dtype=torch.uint8).expand(12, 12)
    assert all(torch.equal(mask, expected) for mask in data.test.masks)
    assert torch.equal(load(root).test.images, data.test.images)


def test_splits(root: Path) -> None:
    told = levels(load(root))
    assert told["test"] == [10, 11, 12], "the published ones, in their order"
    assert sorted(told["train"] + told["validation"]) == list(range(10))
    assert told["validation"] == VALIDATION, (
        "whoever changes the rule moves pictures between splits of users' results"
    )
    assert levels(load(root)) == told
    assert len({tuple(levels(load(root, seed=seed))["validation"]) for seed in range(5)}) > 2


VALIDATION = sorted(
    sorted(range(10), key=lambda at: hashlib.sha256(f"0/{TRAINVAL[at]}".encode()).hexdigest())[:2]
)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_sizes(root: Path, fit: str) -> None:
    data = load(root, size=(6, 12), fit=fit)
    assert data.image_shape == (3, 6, 12)
    assert (data.train.masks == IGNORE).any() == (fit == "pad")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": (64,)}, "size must be pixels"),
        ({"fit": "squeeze"}, "fit must be"),
        ({"border": "pet"}, "border must be 'class' or 'ignore'; found 'pet'"),
        ({"validation": 1.0}, "validation must be a part between 0 and 1"),
    ],
)
def test_arguments(root: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        load(root, **options)


def test_torchvision_reads_the_same_folder(root: Path) -> None:
    from torchvision.datasets import OxfordIIITPet

    picture, trimap = OxfordIIITPet(root, "test", "segmentation")[0]
    kept = load(root, size=picture.size[0])
    assert np.array_equal(kept.test.images[0].permute(1, 2, 0), np.asarray(picture))
    assert np.array_equal(kept.test.masks[0] == 1, np.asarray(trimap) == 1)


# Files that are missing or damaged ---------------------------------------------------------------


def closed(archive: pets.Archive) -> pets.Archive:
    """At an address where nobody answers."""
    return replace(archive, urls=(f"http://127.0.0.1:9/{archive.name}",))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pets, "IMAGES", closed(pets.IMAGES))
    monkeypatch.setattr(pets, "ANNOTATIONS", closed(pets.ANNOTATIONS))


@pytest.mark.usefixtures("offline")
def test_nothing_there_and_no_network(tmp_path: Path) -> None:
    base = tmp_path / "new" / "oxford-iiit-pet"
    with pytest.raises(DataError) as error:
        load(tmp_path / "new")
    told = str(error.value)
    assert "Could not download annotations.tar.gz" in told
    assert "http://127.0.0.1:9/annotations.tar.gz: refused the connection" in told
    assert "put annotations.tar.gz and images.tar.gz from a machine that has them" in told
    assert f"http://127.0.0.1:9/images.tar.gz) into {base} and call again" in told
    assert {file.suffix for file in base.iterdir()} == {".lock"}


def test_nothing_there_and_not_allowed_to_download(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"not complete in .*; missing: .*Pass download=True .*800 MB"
    ) as error:
        load(tmp_path / "new", download=False)
    for archive in (pets.IMAGES, pets.ANNOTATIONS):
        assert archive.urls[0] in str(error.value)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("images/beagle_3.jpg", "images/beagle_3.jpg"),
        ("annotations/trimaps/beagle_9.png", "annotations/trimaps/beagle_9.png"),
        ("annotations/test.txt", "test.txt can't be read"),
        ("annotations/trimaps", "annotations/trimaps "),
        ("images", r"images \(No such file"),
    ],
)
def test_a_folder_that_lacks_something_is_not_taken_for_whole(root: Path, gone: str, said: str) -> None:
    path = root / "oxford-iiit-pet" / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match=f"is not complete in .*; missing: .*{said}"):
        load(root, download=False)


@pytest.mark.parametrize("content", ["", "Abyssinian_1 1 1 1\nAbyss"])
def test_a_list_that_is_cut_short(root: Path, content: str) -> None:
    (root / "oxford-iiit-pet" / "annotations" / "trainval.txt").write_text(content)
    with pytest.raises(DataError, match=r"trainval.txt is empty or damaged: each line"):
        load(root, download=False)


def cut(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1000])


def other_size(path: Path) -> None:
    Image.new("L", (5, 4), 1).save(path)


def other_values(path: Path) -> None:
    Image.new("L", (12, 12), 7).save(path)


# torchvision leaves closing the file it could not read to Python's collector.
@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("images/beagle_0.jpg", cut, r"beagle_0.jpg: OSError: "),
        ("annotations/trimaps/beagle_0.png", cut, r"beagle_0.png: \w+Error: "),
        (
            "annotations/trimaps/beagle_0.png",
            other_size,
            r"beagle_0.png: is \(5, 4\) pixels large, its image \(12, 12\)",
        ),
        (
            "annotations/trimaps/beagle_0.png",
            other_values,
            r"beagle_0.png: should hold 1, 2 and 3 only; found \[7\]",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named(root: Path, name: str, spoil: Any, said: str) -> None:
    spoil(root / "oxford-iiit-pet" / name)
    with pytest.raises(DataError, match=f"1 of 13 (.|\n)*{said}"):
        load(root)


# Archives and downloads --------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Serves ``files`` and honours Range; ``asked`` lists the paths. Answers break off at byte ``limit``."""

    daemon_threads = True

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.limit: int | None = None
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        whole = self.server.files[self.path]
        span = self.headers.get("Range")
        start = int(span.removeprefix("bytes=").removesuffix("-")) if span else 0
        self.send_response(206 if span else 200)
        if span:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(whole) - start))
        self.end_headers()
        self.wfile.write(whole[start : self.server.limit])


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def packed(folder: Path) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.add(folder, f"./{folder.name}" if folder.name == "annotations" else folder.name)
    return stream.getvalue()


@pytest.fixture
def archives(root: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Both archives of ``root``, as if published: on the server, with their sums known to the package."""
    contents = {}
    for constant in ("IMAGES", "ANNOTATIONS"):
        archive: pets.Archive = getattr(pets, constant)
        content = contents[archive.name] = packed(root / "oxford-iiit-pet" / archive.folder)
        server.files[f"/{archive.name}"] = content
        url = f"http://127.0.0.1:{server.server_address[1]}/{archive.name}"
        monkeypatch.setattr(
            pets, constant, replace(archive, urls=(url,), md5=hashlib.md5(content).hexdigest())
        )
    return contents


def same(one: SegmentationDataset, other: SegmentationDataset) -> bool:
    return all(getattr(one, part).digest == getattr(other, part).digest for part in PARTS)


def names_in(base: Path) -> set[str]:
    return {entry.name for entry in base.iterdir() if entry.suffix != ".lock"}


def test_downloaded_once(root: Path, archives: dict[str, bytes], server: Server, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    assert same(load(fresh), load(root))
    assert server.asked == ["/annotations.tar.gz", "/images.tar.gz"]
    assert names_in(fresh / "oxford-iiit-pet") == {"annotations", "images", *archives}
    load(fresh, size=8)
    assert len(server.asked) == 2


def test_without_a_root_into_the_cache(
    root: Path, archives: dict[str, bytes], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert same(load(), load(root))
    assert (
        len(server.asked) == 2 and (tmp_path / "cache" / "kdcourse" / "oxford-iiit-pet" / "images").is_dir()
    )
    monkeypatch.setenv("KDCOURSE_DATA", str(tmp_path / "nowhere"))
    assert same(load(), load(root)) and len(server.asked) == 2
    (root / "oxford-iiit-pet" / "images" / "beagle_9.jpg").write_bytes(
        (root / "oxford-iiit-pet" / "images" / "beagle_1.jpg").read_bytes()
    )
    monkeypatch.setenv("KDCOURSE_DATA", str(root))
    assert levels(load())["test"] == [10, 11, 6], "the named place goes first"


def test_the_archives_as_oxford_ships_them(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written by a Mac: folders after their files, AppleDouble files beside them, and more than the lists name."""
    source, base = root / "oxford-iiit-pet", tmp_path / "shipped" / "oxford-iiit-pet"
    expected = levels(load(root))
    # Some of the published files are GIF, PNG or CMYK under the name of a JPEG.
    for name, kind, mode in (
        ("Abyssinian_3", "GIF", "P"),
        ("beagle_3", "PNG", "RGBA"),
        ("beagle_9", "JPEG", "CMYK"),
    ):
        path = source / "images" / f"{name}.jpg"
        image = Image.open(path).convert("RGB").convert(mode)
        image.save(path, kind)
    shutil.copyfile(
        source / "images" / "beagle_1.jpg", source / "images" / "Abyssinian_104.jpg"
    )  # in no list
    (source / "annotations" / "README").write_text("OVERVIEW\n")
    (source / "annotations" / "xmls").mkdir()
    (source / "annotations" / "xmls" / "Abyssinian_1.xml").write_text("<annotation/>")
    (source / "annotations" / "._trimaps").write_bytes(b"\0\5\26\7")
    base.mkdir(parents=True)
    for archive, prefix in (("IMAGES", ""), ("ANNOTATIONS", "./")):
        published: pets.Archive = getattr(pets, archive)
        with tarfile.open(base / published.name, "w:gz") as tar:
            for file in sorted((source / published.folder).rglob("*"), reverse=True):
                tar.add(file, f"{prefix}{file.relative_to(source)}", recursive=False)
        md5 = hashlib.md5((base / published.name).read_bytes()).hexdigest()
        monkeypatch.setattr(pets, archive, replace(published, md5=md5))
    data = load(tmp_path / "shipped", download=False)
    assert levels(data) == expected
    assert same(data, load(root))


def test_archives_placed_by_hand(
    root: Path, archives: dict[str, bytes], server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "copied" / "oxford-iiit-pet"
    base.mkdir(parents=True)
    for name, content in archives.items():
        (base / name).write_bytes(content)
    assert same(load(tmp_path / "copied", download=False), load(root))
    assert server.asked == []


def test_a_damaged_archive_placed_by_hand(
    archives: dict[str, bytes], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "copied" / "oxford-iiit-pet"
    base.mkdir(parents=True)
    half = archives["annotations.tar.gz"][:500]
    (base / "annotations.tar.gz").write_bytes(half)
    said = f"annotations.tar.gz that lies there is not the published one: its MD5 is {hashlib.md5(half).hexdigest()}"
    with pytest.raises(DataError, match=said):
        load(tmp_path / "copied", download=False)
    with monkeypatch.context() as without:
        without.setattr(pets, "ANNOTATIONS", closed(pets.ANNOTATIONS))
        with pytest.raises(DataError, match=said):
            load(tmp_path / "copied")
    assert names_in(base) == {"annotations.tar.gz"}, "nothing was unpacked from it"
    load(tmp_path / "copied")
    assert (base / "annotations.tar.gz").read_bytes() == archives["annotations.tar.gz"], "replaced"


@pytest.mark.parametrize("which", ["annotations.tar.gz", "images.tar.gz"])
def test_a_wrong_sum_is_refused(
    archives: dict[str, bytes], server: Server, tmp_path: Path, which: str
) -> None:
    content = bytearray(archives[which])
    content[len(content) // 2] ^= 1
    server.files[f"/{which}"] = bytes(content)
    with pytest.raises(DataError, match=f"Could not download {which}(.|\n)*md5 expected"):
        load(tmp_path / "new")
    left = names_in(tmp_path / "new" / "oxford-iiit-pet")
    assert left == (set() if which.startswith("ann") else {"annotations", "annotations.tar.gz"})


def test_a_download_that_broke_off_is_not_taken_for_whole(
    root: Path, archives: dict[str, bytes], server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "new" / "oxford-iiit-pet"
    server.limit = 700
    with pytest.raises(DataError, match="broke off after 700 of"):
        load(tmp_path / "new")
    assert names_in(base) == {"annotations.tar.gz.part"}
    server.limit = None
    assert same(load(tmp_path / "new"), load(root))
    assert names_in(base) == {"annotations", "images", *archives}


def test_unpacking_that_was_interrupted_goes_on(
    root: Path, archives: dict[str, bytes], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "new" / "oxford-iiit-pet"
    moved = []
    replace_file = os.replace

    def killed(source: Path, target: Path) -> None:
        if str(target).endswith(".jpg"):
            moved.append(target)
            if len(moved) > 4:
                raise KeyboardInterrupt
        replace_file(source, target)

    with monkeypatch.context() as dying:
        dying.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            load(tmp_path / "new")
    (base / ".unpacking-0123").mkdir()  # as a process that is killed outright would leave it
    assert len(list((base / "images").glob("*.jpg"))) == 4
    assert same(load(tmp_path / "new"), load(root))
    assert names_in(base) == {"annotations", "images", *archives} and len(server.asked) == 2


def test_what_torchvision_left_half_unpacked_is_completed(
    root: Path, archives: dict[str, bytes], tmp_path: Path
) -> None:
    """Stopped while unpacking: the last picture is half a file, those behind it are missing."""
    half = Path(shutil.copytree(root, tmp_path / "half"))
    images = sorted((half / "oxford-iiit-pet" / "images").glob("*.jpg"))
    for file in images[6:]:
        file.unlink()
    images[5].write_bytes(images[5].read_bytes()[:100])
    assert same(load(half), load(root))


def test_an_archive_cannot_write_elsewhere(
    archives: dict[str, bytes], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        member = tarfile.TarInfo("../../../evil.txt")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    server.files["/annotations.tar.gz"] = stream.getvalue()
    md5 = hashlib.md5(stream.getvalue()).hexdigest()
    monkeypatch.setattr(pets, "ANNOTATIONS", replace(pets.ANNOTATIONS, md5=md5))
    with pytest.raises(DataError, match="can't be unpacked"):
        load(tmp_path / "new")
    assert not list(tmp_path.rglob("evil.txt"))


def test_an_archive_without_the_pictures(
    archives: dict[str, bytes], server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        pets, "IMAGES", replace(pets.ANNOTATIONS, folder="images", urls=pets.ANNOTATIONS.urls)
    )
    with pytest.raises(DataError, match=r"images.tar.gz was unpacked in .* but still missing: "):
        load(tmp_path / "new")


def test_a_place_that_cannot_be_written(archives: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "new").write_text("a file where a folder should be made")
    with pytest.raises(DataError, match=r"Could not unpack .* choose a folder that you may write to"):
        load(tmp_path / "new")


# The cache of tensors ----------------------------------------------------------------------------


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "kdcourse" / "oxford-pets").glob("*"))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lists what is read from pictures rather than from the cache."""
    parts: list[str] = []
    published = pets._published

    def counted(base: Path, part: str) -> Any:
        parts.append(part)
        return published(base, part)

    monkeypatch.setattr(pets, "_published", counted)
    return parts


def test_decoded_once(root: Path, tmp_path: Path, decoded: list[str]) -> None:
    first = load(root)
    assert decoded == ["trainval", "test"] and len(kept(tmp_path)) == 1
    assert same(load(root), first)
    load(root, seed=3, border="ignore", validation=0.5)
    assert len(decoded) == 2
    load(root, size=(12, 8))
    load(root, fit="pad")
    assert len(decoded) == 6 and len(kept(tmp_path)) == 3


def test_another_picture_is_noticed(root: Path, decoded: list[str]) -> None:
    load(root)
    path = root / "oxford-iiit-pet" / "images" / "beagle_9.jpg"
    before = path.stat()
    Image.new("RGB", (24, 24), (10, 10, 10)).save(path, quality=95)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10_000_000))
    assert levels(load(root))["test"] == [10, 11, 0] and len(decoded) == 4


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_copy_is_made_again(root: Path, tmp_path: Path, decoded: list[str], damage: str) -> None:
    first = load(root)
    (copy,) = kept(tmp_path)
    content = bytearray(copy.read_bytes())
    whole = bytes(content)
    content[-7] ^= 1
    copy.write_bytes({"cut": whole[:-100], "flipped": bytes(content), "empty": b""}[damage])
    assert same(load(root), first) and len(decoded) == 4
    assert copy.read_bytes() == whole


def test_without_a_place_for_the_copy(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(load(root).test) == 3
