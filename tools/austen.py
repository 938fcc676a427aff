"""Make data/austen from Debian's package r-cran-janeaustenr, which holds Jane Austen's six novels.

    apt-get download r-cran-janeaustenr && dpkg -x r-cran-janeaustenr_*.deb unpacked
    python -m tools.austen unpacked

The package is built of CRAN's janeaustenr (MIT licence); the novels were published from 1811 to 1817 and are in the
public domain.
"""

from __future__ import annotations

import lzma
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from kdcourse.data import BytePairVocabulary, ByteVocabulary, austen
from kdcourse.files import CHECKSUMS, sha256, write_atomically

_NOVELS = Path(__file__).parents[1] / "data" / "austen"
_HEADER = 14  # "X\n", three versions, and in version 3 the encoding's name, whose length is given


def main(unpacked: Path) -> None:
    """Write each novel as one compressed text file, the vocabulary of the training chapters, and the digests of all."""
    tables = sorted(unpacked.glob("usr/*/R/site-library/janeaustenr/data/Rdata.rdb"))
    if not tables:
        raise SystemExit(
            f"There is no janeaustenr in {unpacked}. Unpack r-cran-janeaustenr_*.deb there with dpkg -x."
        )
    for lines in _vectors(tables[0].read_bytes()):
        name = lines[0].strip().lower().replace(" ", "-")
        packed = lzma.compress("\n".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME)
        write_atomically(_NOVELS / f"{name}.txt.xz", packed)
    _write_digests()
    chapters = austen(vocabulary=ByteVocabulary()).documents["train"]
    BytePairVocabulary.train(chapters, 512).save(_NOVELS / "bpe512.json")
    _write_digests()


def _write_digests() -> None:
    files = sorted((*_NOVELS.glob("*.xz"), *_NOVELS.glob("*.json")))
    write_atomically(_NOVELS / CHECKSUMS, "".join(f"{sha256(file)}  {file.name}\n" for file in files))


def _vectors(table: bytes) -> Iterator[list[str]]:
    """Yield the character vectors of R's table of lazily loaded objects, each compressed by zlib."""
    at = 0
    while at < len(table):
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(table[at + 4 :])  # after its length
        at = len(table) - len(unpacker.unused_data)
        yield _strings(content)


def _strings(content: bytes) -> list[str]:
    """Read one character vector of R's serialisation format (R Internals, section 1.8)."""
    at = _HEADER + 4 + struct.unpack_from(">i", content, _HEADER)[0]
    kind, count = struct.unpack_from(">ii", content, at)
    if content[:2] != b"X\n" or kind & 255 != 16:
        raise SystemExit(
            "This version of janeaustenr stores something else than character vectors of format 3."
        )
    at, lines = at + 8, []
    for _ in range(count):
        length = struct.unpack_from(">i", content, at + 4)[0]
        lines.append(content[at + 8 : at + 8 + length].decode())
        at += 8 + length
    return lines


if __name__ == "__main__":
    main(Path(sys.argv[1]))
