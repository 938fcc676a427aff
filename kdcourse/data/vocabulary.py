"""Turn text into tokens and back: bytes, or a vocabulary of byte pairs."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kdcourse.errors import ArgumentError, DataError
from kdcourse.files import write_atomically

END = "<|end|>"  # the token before and after each document


class Vocabulary(ABC):
    """Map text to tokens, whole numbers from 0 to ``len(self) - 1``, without loss.

    Attributes:
        digest: SHA-256 of all that the mapping depends on. Models of two vocabularies give probabilities to different
            things, so only models whose vocabularies have the same digest are comparable token by token.
        end: the token that stands before and after each document.
    """

    digest: str
    end: int

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text; the end token isn't among them."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without end tokens; broken UTF-8 becomes the replacement character."""

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """Return the text of every token, in order; that of the end token is ``<|end|>``."""
        return tuple(END if token == self.end else self.decode([token]) for token in range(len(self)))


class ByteVocabulary(Vocabulary):
    """Take each byte of the text in UTF-8 as a token: 256, and the end token."""

    end = 256
    digest = hashlib.sha256(b"bytes").hexdigest()

    def __len__(self) -> int:
        return 257

    def __repr__(self) -> str:
        return "ByteVocabulary()"

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(token for token in tokens if token != self.end).decode(errors="replace")


class BytePairVocabulary(Vocabulary):
    """Merge frequent pairs of bytes into tokens (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909, section 3.2).

    Pairs are merged within words alone, over bytes rather than characters, as in GPT-2 (Radford et al. 2019, "Language
    Models are Unsupervised Multitask Learners", section 2.2), so that every text has tokens. Hugging Face's
    ``tokenizers`` does the work.

    Args:
        definition: the content of a ``tokenizer.json``.

    Raises:
        ArgumentError: ``tokenizers`` isn't installed.
        DataError: no such content, or a vocabulary without ``<|end|>``.
    """

    def __init__(self, definition: str) -> None:
        library = _tokenizers()
        try:
            self._tokenizer = library.Tokenizer.from_str(definition)
        except Exception as error:  # the library raises nothing more special
            raise DataError(
                f"This is no vocabulary of Hugging Face's tokenizers: {error}. Pass the content of a tokenizer.json."
            ) from error
        end = self._tokenizer.token_to_id(END)
        if end is None:
            raise DataError(f"The vocabulary has no token {END!r}, which stands between documents. Add it.")
        self.end = end
        self._definition = definition
        self.digest = hashlib.sha256(json.dumps(json.loads(definition), sort_keys=True).encode()).hexdigest()

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def __repr__(self) -> str:
        return f"BytePairVocabulary({len(self)} tokens)"

    @classmethod
    def train(cls, documents: Iterable[str], size: int) -> BytePairVocabulary:
        """Learn a vocabulary of ``size`` tokens, or fewer where the documents hold no more pairs.

        Raises:
            ArgumentError: a size below 258 (256 bytes, the end token, one pair), ``tokenizers`` isn't installed.
        """
        if size < 258:
            raise ArgumentError(
                f"A vocabulary of byte pairs has at least 258 tokens: 256 bytes, the end of a document, and one pair; "
                f"found {size}. Take more, or ByteVocabulary()."
            )
        library = _tokenizers()
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[END],
            initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(documents, trainer)
        return cls(tokenizer.to_str())

    @classmethod
    def load(cls, path: Path | str) -> BytePairVocabulary:
        """Read what `save` wrote, or another ``tokenizer.json``.

        Raises:
            DataError: the file can't be read, or holds something else.
        """
        try:
            return cls(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"The vocabulary {path} can't be read: {error}. Check the path.") from error

    def save(self, path: Path | str) -> None:
        """Write the vocabulary as a ``tokenizer.json``, atomically."""
        write_atomically(Path(path), self._definition)

    def encode(self, text: str) -> list[int]:
        # What looks like an end token in a text is text.
        self._tokenizer.encode_special_tokens = True
        return list(self._tokenizer.encode(text).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode([token for token in tokens if token != self.end]))


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ArgumentError(
            "A vocabulary of byte pairs needs Hugging Face's tokenizers, which isn't installed. Install it with "
            "pip install 'kdcourse[language]', or take bytes: vocabulary=ByteVocabulary()."
        ) from error
    return tokenizers
