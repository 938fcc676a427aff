"""Text as tokens: the shipped novels, one's own files, both vocabularies, and how rows are cut."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
import torch

from kdcourse.data import (
    IGNORE_TOKEN,
    BytePairVocabulary,
    ByteVocabulary,
    TextDataset,
    TokenSplit,
    Vocabulary,
    austen,
    text_dataset,
    text_file,
    text_folder,
)
from kdcourse.errors import ArgumentError, DataError

DOCUMENTS = [f"Document {number} says: grüß Gott, £{number}.\nAnd it ends." for number in range(40)]


def test_the_novels_and_their_splits_are_fixed() -> None:
    data = austen(vocabulary=ByteVocabulary())
    assert {part: len(texts) for part, texts in data.documents.items()} == {
        "train": 243,
        "validation": 13,
        "test": 13,
    }
    digests = {part: getattr(data, part).digest[:12] for part in data.documents}
    assert digests == {"train": "d1d9f843fd9d", "validation": "80e229de400a", "test": "05bf276226b8"}
    texts = [text for some in data.documents.values() for text in some]
    assert (
        sum(text.startswith("It is a truth universally acknowledged, that a single man") for text in texts)
        == 1
    )
    # No heading, editor's note or wrapped line is left.
    assert not any("CHAPTER" in text or "edition" in text[-200:] for text in texts)
    assert all(text.rstrip()[-1] in ".!?\"'" for text in texts)


def test_the_shipped_vocabulary_loses_nothing() -> None:
    from kdcourse.files import shipped

    vocabulary = BytePairVocabulary.load(shipped("austen") / "bpe512.json")
    assert len(vocabulary) == len(vocabulary.tokens) == 512 and vocabulary.tokens[vocabulary.end] == "<|end|>"
    for text in ("Mr. Darcy smiled.", "grüß £20,000 \n\n <|end|> 東", ""):
        assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.end not in vocabulary.encode("<|end|>")
    assert len(vocabulary.encode("She could not help it.")) < 12


@pytest.mark.parametrize("vocabulary", [None, 300], ids=["bytes", "pairs"])
def test_each_token_is_to_be_predicted_once_from_what_is_before(vocabulary: int | None) -> None:
    data = text_dataset("own", DOCUMENTS, vocabulary=vocabulary, context=16)
    assert len(data.classes) == (vocabulary or 257) and data.context == 16 and data.image_shape == (1, 16)
    for part, texts in data.documents.items():
        split: TokenSplit = getattr(data, part)
        assert split.sizes.tolist() == [len(text.encode()) for text in texts]
        for number, text in enumerate(texts):
            rows = split.document == number
            labels, tokens = split.labels[rows].flatten(), split.tokens[rows].flatten()
            kept = labels != IGNORE_TOKEN
            ids = data.vocabulary.encode(text)
            assert labels[kept].tolist() == [*ids, data.vocabulary.end]
            assert tokens[kept].tolist() == [data.vocabulary.end, *ids]
            assert data.vocabulary.decode(tokens.tolist()) == text


def test_splits_follow_from_content_alone() -> None:
    one, other = text_dataset("a", DOCUMENTS), text_dataset("b", [*DOCUMENTS[::-1], DOCUMENTS[3], " \n"])
    assert one.documents == other.documents and one.train.digest == other.train.digest
    assert {part: len(texts) for part, texts in one.documents.items()} == {
        "train": 36,
        "validation": 2,
        "test": 2,
    }


def test_a_folder_and_a_file_of_ones_own(tmp_path: Path) -> None:
    for number, text in enumerate(DOCUMENTS[:4]):
        (tmp_path / f"{number}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "5.txt.xz").write_bytes(lzma.compress(DOCUMENTS[5].encode()))
    (tmp_path / "table.csv").write_text("no text")
    data = text_folder(tmp_path, context=8)
    assert sorted(text for some in data.documents.values() for text in some) == sorted(
        [*DOCUMENTS[:4], DOCUMENTS[5]]
    )
    long = "\n\n".join(f"Paragraph {number}. " + "word " * 60 for number in range(200))
    (tmp_path / "long.txt").write_text(long)
    pieces = [text for some in text_file(tmp_path / "long.txt").documents.values() for text in some]
    assert len(pieces) == 7 and sorted("".join(pieces)) == sorted(long)
    assert all(piece.lstrip().startswith("Paragraph") for piece in pieces)


def test_bad_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"at least three different documents, .* found 1"):
        text_dataset("own", ["same", "same", "  "])
    with pytest.raises(ArgumentError, match="context, the tokens of a row, must be at least 2; found 1"):
        text_dataset("own", DOCUMENTS, context=1)
    with pytest.raises(ArgumentError, match=r"at least 258 tokens: .* found 100"):
        text_dataset("own", DOCUMENTS, vocabulary=100)
    with pytest.raises(DataError, match=r"There is no folder"):
        text_folder(tmp_path / "none")
    (tmp_path / "latin.txt").write_bytes("gr\xfc\xdf".encode("latin1"))
    with pytest.raises(DataError, match=r"isn't UTF-8 .byte 2 is 0xfc"):
        text_file(tmp_path / "latin.txt")
    with pytest.raises(DataError, match="no vocabulary of Hugging Face"):
        BytePairVocabulary("{}")
    with pytest.raises(DataError, match="can't be read"):
        BytePairVocabulary.load(tmp_path / "none.json")
    tokens = torch.zeros(2, 4, dtype=torch.int64)
    none, rows = torch.full_like(tokens, IGNORE_TOKEN), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(DataError, match="No position of this split is to be predicted"):
        TokenSplit(tokens, none, rows, rows)
    with pytest.raises(DataError, match=r"must be int64; found torch.float32"):
        TokenSplit(tokens.float(), tokens, rows, rows)
    with pytest.raises(DataError, match=r"of one shape.*\[2, 4\], \[2, 3\]"):
        TokenSplit(tokens, tokens[:, :3], rows, rows)
    good, wide = TokenSplit(tokens, tokens, rows, rows), TokenSplit(tokens, tokens + 300, rows, rows)
    vocabulary: Vocabulary = ByteVocabulary()
    with pytest.raises(
        DataError, match=r"labels of test .* must lie in 0..256, the vocabulary; found 300 to 300"
    ):
        TextDataset("own", vocabulary, good, good, wide)


def test_folders_as_they_are_found(tmp_path: Path) -> None:
    (tmp_path / "ONE.TXT").write_bytes("\ufeffthe cat".encode())
    (tmp_path / "two.md").write_text("a dog")
    (tmp_path / "three.txt").write_text("x")
    (tmp_path / "folder.txt").mkdir()
    data = text_folder(tmp_path, context=8)
    assert sorted(text for some in data.documents.values() for text in some) == ["a dog", "the cat", "x"]


@pytest.mark.parametrize("end", ["\n\n", "\n", ". ", " "])
def test_long_texts_are_cut_wherever_they_end_something(tmp_path: Path, end: str) -> None:
    words = [f"word{number}" for number in range(30_000)]
    text = "".join(f"{word}{end}" for word in words)
    (tmp_path / "long.txt").write_text(text)
    data = text_file(tmp_path / "long.txt", context=64)
    pieces = [piece for some in data.documents.values() for piece in some]
    assert sorted("".join(pieces)) == sorted(text) and 10_000 <= max(map(len, pieces)) < 10_100
    assert all(piece.lstrip().startswith("word") for piece in pieces)
