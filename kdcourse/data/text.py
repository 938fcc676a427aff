"""Text as tokens: Jane Austen's novels, your own file or folder."""

from __future__ import annotations

import hashlib
import lzma
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdcourse.data.splits import check_tensor, content_digest
from kdcourse.data.vocabulary import BytePairVocabulary, ByteVocabulary, Vocabulary
from kdcourse.errors import ArgumentError, DataError
from kdcourse.files import read_checksums, sha256, shipped

IGNORE_TOKEN = (
    -100
)  # the label of positions that count in no loss and no metric, as in PyTorch and transformers
_SHARE = 20  # one document in so many is for validation, and one for the test
_TEXTS = (".txt", ".md", ".txt.xz")
_PIECE = 10_000  # characters of a piece of a long file, about those of a chapter
_CHAPTER = re.compile(r"^ *chapter +[0-9IVXLC]+\.? *$", re.IGNORECASE | re.MULTILINE)
# What follows a chapter and is none of it: the next volume's heading, the last line, an editor's note.
_AFTER = re.compile(
    r"\n *(?:volume +[IVX]+|finis|the end|a note on the text\n.*|[\[(][^\[(]*\bvolume[^\[(]*[\])]) *\Z",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class TokenSplit:
    """Hold one split of a text: rows of tokens, and for each token the one that follows it.

    A row holds ``T`` tokens of one document. Rows that a document doesn't fill end in tokens whose label is
    `IGNORE_TOKEN`. Every token of a document, and the end token after it, is the label of one position.

    Args:
        tokens: int64 [N, T].
        labels: int64 [N, T], the next tokens, or `IGNORE_TOKEN`.
        document: int64 [N], the document of each row, counted from 0.
        sizes: int64 [documents], their bytes in UTF-8; 0 if the rows are only some of those of the documents.

    Raises:
        DataError: no tensors, wrong types or shapes, nothing to predict.
    """

    tokens: Tensor
    labels: Tensor
    document: Tensor
    sizes: Tensor

    def __post_init__(self) -> None:
        for name in ("tokens", "labels", "document", "sizes"):
            value = getattr(self, name)
            check_tensor(value, name, "torch.int64")
            if value.dtype != torch.int64:
                raise DataError(f"{name} of a text must be int64; found {value.dtype}. Convert with .long().")
        rows = self.tokens.shape[:1]
        if self.tokens.ndim != 2 or self.labels.shape != self.tokens.shape or self.document.shape != rows:
            raise DataError(
                "A text needs tokens and labels [N, T] of one shape, and the document of each row [N]; found "
                f"{list(self.tokens.shape)}, {list(self.labels.shape)} and {list(self.document.shape)}."
            )
        if not bool((self.labels != IGNORE_TOKEN).any()):
            raise DataError(f"No position of this split is to be predicted: every label is {IGNORE_TOKEN}.")

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def images(self) -> Tensor:
        """Return the tokens, under the name that batches use for what a model is given."""
        return self.tokens

    def subset(self, index: Tensor) -> TokenSplit:
        """Return the rows at ``index`` (int64 [M] or bool [N]).

        ``sizes`` are 0: bits per byte aren't defined for parts of documents.
        """
        nothing = torch.zeros_like(self.sizes)
        return TokenSplit(self.tokens[index], self.labels[index], self.document[index], nothing)

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of shape, tokens and labels: it identifies the content, wherever it came from."""
        return content_digest("tokens", self.tokens, self.labels)


@dataclass(frozen=True)
class TextDataset:
    """Hold train, validation and test split of a text, and the vocabulary of its tokens.

    Raises:
        DataError: splits whose rows differ in length, tokens outside the vocabulary.
    """

    name: str
    vocabulary: Vocabulary
    train: TokenSplit
    validation: TokenSplit
    test: TokenSplit
    documents: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for part in ("train", "validation", "test"):
            split = getattr(self, part)
            if not isinstance(split, TokenSplit):
                raise DataError(
                    f"{part} of {self.name!r} must be a TokenSplit; found {type(split).__name__}."
                )
            if split.tokens.shape[1] != self.context:
                raise DataError(
                    f"All rows of {self.name!r} must have one length; train has {self.context} tokens, {part} "
                    f"{split.tokens.shape[1]}."
                )
            for name, values in (
                ("tokens", split.tokens),
                ("labels", split.labels[split.labels != IGNORE_TOKEN]),
            ):
                low, high = (int(end) for end in values.aminmax())
                if low < 0 or high >= len(self.vocabulary):
                    raise DataError(
                        f"{name} of {part} in {self.name!r} must lie in 0..{len(self.vocabulary) - 1}, the vocabulary; "
                        f"found {low} to {high}. Was the text encoded by another one?"
                    )

    @property
    def context(self) -> int:
        """Return T, the tokens of a row."""
        return self.train.tokens.shape[1]

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the text of every token: what a model chooses from at each position."""
        return self.vocabulary.tokens

    @property
    def mean(self) -> tuple[float, ...]:
        """Return no mean: tokens aren't normalised."""
        return ()

    @property
    def std(self) -> tuple[float, ...]:
        """Return no standard deviation, as for `mean`."""
        return ()

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Return (1, T), where images have channels, height and width."""
        return 1, self.context

    def normalise(self, tokens: Tensor) -> Tensor:
        """Return the tokens themselves, where images are normalised."""
        return tokens


def text_dataset(
    name: str, documents: Sequence[str], *, vocabulary: Vocabulary | int | None = None, context: int = 128
) -> TextDataset:
    """Split documents into training, validation and test, and turn them into rows of tokens.

    The splits follow from the documents' content: in the order of their SHA-256, the first twentieth is the test, the
    next one validation, each at least one document. A document that is there twice counts once.

    Args:
        name: of the data set.
        documents: at least three that differ.
        vocabulary: ``None`` for bytes, or the size of a vocabulary of byte pairs that is learned from the training
            documents.
        context: T, the tokens of a row; a model sees at most so many before the one that it predicts.

    Raises:
        ArgumentError: context below 2, a vocabulary that is too small.
        DataError: fewer than three documents that hold more than white space and differ.
    """
    if context < 2:
        raise ArgumentError(f"context, the tokens of a row, must be at least 2; found {context}.")
    by_digest = {hashlib.sha256(text.encode()).hexdigest(): text for text in documents if text.strip()}
    if len(by_digest) < 3:
        raise DataError(
            f"{name!r} needs at least three different documents, for training, validation and test; found "
            f"{len(by_digest)}. Add some, or cut a long one into pieces with text_file."
        )
    ordered = tuple(by_digest[digest] for digest in sorted(by_digest))
    held_out = max(1, len(ordered) // _SHARE)
    parts = {
        "test": ordered[:held_out],
        "validation": ordered[held_out : 2 * held_out],
        "train": ordered[2 * held_out :],
    }
    if vocabulary is None:
        vocabulary = ByteVocabulary()
    elif isinstance(vocabulary, int):
        vocabulary = BytePairVocabulary.train(parts["train"], vocabulary)
    splits = {part: _rows(texts, vocabulary, context) for part, texts in parts.items()}
    return TextDataset(name, vocabulary, splits["train"], splits["validation"], splits["test"], parts)


def _rows(texts: Sequence[str], vocabulary: Vocabulary, context: int) -> TokenSplit:
    """Cut the tokens of each text into rows; they overlap by nothing, and no row holds parts of two texts."""
    tokens, labels, document = [], [], []
    for number, text in enumerate(texts):
        ends = [vocabulary.end]
        ids = torch.from_numpy(np.array(ends + vocabulary.encode(text) + ends))  # int64
        before, after = ids[:-1], ids[1:]
        count = -(-len(before) // context)
        padding = count * context - len(before)
        tokens.append(torch.cat([before, before.new_full((padding,), vocabulary.end)]).view(count, context))
        labels.append(torch.cat([after, after.new_full((padding,), IGNORE_TOKEN)]).view(count, context))
        document.append(torch.full((count,), number))
    sizes = torch.tensor([len(text.encode()) for text in texts])
    return TokenSplit(torch.cat(tokens), torch.cat(labels), torch.cat(document), sizes)


def text_file(
    path: Path | str, *, vocabulary: Vocabulary | int | None = None, context: int = 128
) -> TextDataset:
    """Read one text file, UTF-8, or packed as ``.xz``; pieces of about 10,000 characters are its documents.

    A piece ends where a paragraph does. For the rest see `text_dataset`.

    Raises:
        ArgumentError: as `text_dataset`.
        DataError: the file can't be read, isn't UTF-8, or is too short for three pieces.
    """
    path = Path(path)
    return text_dataset(
        path.name.partition(".")[0], _pieces(_read(path)), vocabulary=vocabulary, context=context
    )


def text_folder(
    path: Path | str,
    *,
    vocabulary: Vocabulary | int | None = None,
    context: int = 128,
    pieces: bool = False,
) -> TextDataset:
    """Read all text files of a folder and its subfolders, ``.txt``, ``.md`` or ``.txt.xz``, UTF-8; each is a document.

    With ``pieces`` each file is cut into documents as `text_file` does. For the rest see `text_dataset`.

    Raises:
        ArgumentError: as `text_dataset`.
        DataError: no such folder, fewer than three texts, a file that can't be read or isn't UTF-8.
    """
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"There is no folder {path}. Check the path; for one file, use text_file.")
    files = sorted(file for file in path.rglob("*") if file.name.lower().endswith(_TEXTS) and file.is_file())
    texts = [_read(file) for file in files]
    if pieces:
        texts = [piece for text in texts for piece in _pieces(text)]
    return text_dataset(path.name, texts, vocabulary=vocabulary, context=context)


def austen(*, vocabulary: Vocabulary | int | None = None, context: int = 128) -> TextDataset:
    """Read Jane Austen's six novels, 269 chapters, each a document; see ``data/austen/SOURCE.md``.

    Lines of a paragraph are joined, so that a newline ends a paragraph.

    Args:
        vocabulary: by default the shipped one of 512 tokens, learned from the training chapters; pass
            ``ByteVocabulary()`` for bytes.
        context: T, the tokens of a row.

    Raises:
        ArgumentError: as `text_dataset`.
        DataError: files that are missing or damaged.
    """
    folder = shipped("austen")
    digests = read_checksums(folder)
    if not digests:
        raise DataError(
            f"Jane Austen's novels aren't in {folder}. Install kdcourse again, or restore data/austen."
        )
    for name, digest in digests.items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            raise DataError(
                f"{folder / name} is missing or damaged. Restore it: git checkout -- data/austen."
            )
    chapters = [
        chapter
        for name in sorted(digests)
        if name.endswith(".xz")
        for chapter in _chapters(_read(folder / name))
    ]
    if vocabulary is None:
        vocabulary = BytePairVocabulary.load(folder / "bpe512.json")
    return text_dataset("austen", chapters, vocabulary=vocabulary, context=context)


def _chapters(novel: str) -> Iterator[str]:
    for chapter in _CHAPTER.split(novel)[1:]:  # before the first one there is the title
        paragraphs = re.split(r"\n\s*\n", _AFTER.sub("", chapter.strip()).strip())
        yield "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _pieces(text: str) -> list[str]:
    """Cut a text at ends of paragraphs; where these are very long, at ends of lines, sentences or words."""
    pieces, piece = [], ""
    for part in _parts(text, (r"(?<=\n)(?=[^\S\n]*\n)", r"(?<=\n)", r"(?<=[.!?] )", r"(?<= )")):
        piece += part
        if len(piece) >= _PIECE:
            pieces.append(piece)
            piece = ""
    return [*pieces, piece]


def _parts(text: str, ends: Sequence[str]) -> Iterator[str]:
    for part in re.split(ends[0], text):
        if len(part) > _PIECE and len(ends) > 1:
            yield from _parts(part, ends[1:])
        else:
            yield part


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        # A byte order mark, which some editors write, is none of the text.
        return (lzma.decompress(content) if path.suffix == ".xz" else content).decode("utf-8-sig")
    except (OSError, lzma.LZMAError) as error:
        raise DataError(f"The text {path} can't be read: {error}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"The text {path} isn't UTF-8 (byte {error.start} is {error.object[error.start]:#04x}). Convert it, for "
            f"example with iconv -f latin1 -t utf-8."
        ) from error
