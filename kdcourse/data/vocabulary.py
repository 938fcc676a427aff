"""Turn text into tokens and back: bytes, a vocabulary of byte pairs, or that of a Hugging Face model."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kdcourse.data.hub import check_there, first_line, transformers, unreadable
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
        DataError: no such content, or a vocabulary without ``<|end|>``.
    """

    def __init__(self, definition: str) -> None:
        import tokenizers  # here, since images need none of it

        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(definition)
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
            ArgumentError: a size below 258 (256 bytes, the end token, one pair).
        """
        if size < 258:
            raise ArgumentError(
                f"A vocabulary of byte pairs has at least 258 tokens: 256 bytes, the end of a document, and one pair; "
                f"found {size}. Take more, or ByteVocabulary()."
            )
        import tokenizers

        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[END],
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
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


class TokenizerVocabulary(Vocabulary):
    """Take the tokens of a Hugging Face model, as `transformers` reads its tokenizer.

    Args:
        tokenizer: such as ``transformers.AutoTokenizer.from_pretrained(...)``.

    Raises:
        DataError: it has no end-of-text token.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        if tokenizer.eos_token_id is None:
            raise DataError(
                "This tokenizer has no end-of-text token (eos_token), which stands between documents. Set it: "
                "tokenizer.eos_token = '...'."
            )
        self.end = int(tokenizer.eos_token_id)
        # Equal numbers of all tokens don't make two tokenizers cut a text alike, so a text is cut, too.
        parts = [sorted(self.numbers.items()), self.end, self.encode(_CUT)]
        self.digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @classmethod
    def load(cls, where: Path | str) -> TokenizerVocabulary:
        """Read the tokenizer of a model: a folder that ``save_pretrained`` wrote, or a name on Hugging Face's hub.

        Raises:
            ArgumentError: ``transformers`` isn't installed.
            DataError: there is no such tokenizer, or it can't be downloaded.
        """
        library = transformers("A Hugging Face model's vocabulary")
        check_there(str(where))
        try:
            tokenizer = library.AutoTokenizer.from_pretrained(str(where), trust_remote_code=False)
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise unreadable(f"The tokenizer of {where} can't be read", first_line(error)) from error
        # Where there is no file of a tokenizer, an empty one may be made up.
        if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
            raise unreadable(f"The tokenizer of {where} can't be read", "it has no tokens.")
        return cls(tokenizer)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Return the number of each token."""
        return dict(self.tokenizer.get_vocab())

    def __len__(self) -> int:
        return max(self.numbers.values()) + 1

    def __repr__(self) -> str:
        return f"TokenizerVocabulary({len(self.numbers):,} tokens)"

    def encode(self, text: str) -> list[int]:
        # What looks like an end token in a text is text.
        return list(
            self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True, verbose=False)
        )

    def decode(self, tokens: Sequence[int]) -> str:
        kept = [token for token in tokens if token != self.end]
        return str(self.tokenizer.decode(kept, clean_up_tokenization_spaces=False))


# Words, case, spaces, digits, punctuation, other scripts: what tokenizers cut differently.
_CUT = "It's 12,345 Words;\n\n  a  tab\tand naïve ÄÖ 日本 🙂 unbelievably-long_names(x)."
