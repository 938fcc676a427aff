"""Take Hugging Face's causal language models as teachers and students."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from kdcourse.data import TextDataset, TokenizerVocabulary
from kdcourse.data.hub import check_there, first_line, transformers, unreadable
from kdcourse.errors import ArgumentError, DataError
from kdcourse.models.gpt import check_beginning, next_tokens

_CONTEXT = ("max_position_embeddings", "max_seq_len")  # what configurations call it
_LOADING = (OSError, ValueError, RuntimeError, SafetensorError)


class CausalModel(nn.Module):
    """Give a causal language model of `transformers` the form of the course's: tokens [B, T] -> logits [B, T, V].

    Args:
        network: such as ``transformers.AutoModelForCausalLM.from_pretrained(...)``.
        vocabulary: V, the tokens of its tokenizer. Many models return more logits, of tokens that don't exist, so that
            their number is a round one; these are left out.

    Raises:
        ArgumentError: the network returns fewer logits than there are tokens.
    """

    def __init__(self, network: Any, vocabulary: int) -> None:
        super().__init__()
        self.network, self.vocabulary = network, vocabulary
        config: Any = network.config.get_text_config()
        # Named anew in transformers 5.
        self._cache = (
            "cache" if "cache" in inspect.signature(network.forward).parameters else "past_key_values"
        )
        longest = [getattr(config, name, None) for name in _CONTEXT]
        self.context = next((tokens for tokens in longest if isinstance(tokens, int) and tokens > 0), None)
        if config.vocab_size < vocabulary:
            raise ArgumentError(
                f"This {type(network).__name__} knows {config.vocab_size} tokens, and its text has {vocabulary}. Take "
                "the tokenizer that it was trained with, or build it anew (weights=None)."
            )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits [B, T, V] after each of ``tokens``, int64 [B, T]."""
        logits: Tensor = self.network(input_ids=tokens, use_cache=False).logits
        return logits[..., : self.vocabulary]

    @torch.no_grad()
    def generate(
        self,
        tokens: Tensor,
        count: int,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Continue rows of tokens [B, T] by sampling; return int64 [B, T + count].

        ``temperature`` divides the logits; 0 takes the likeliest token. What was computed of earlier tokens is kept.
        Errors are those of `GPT.generate`.
        """
        check_beginning(tokens, count, temperature)
        kept, seen = transformers("Its cache").DynamicCache(), tokens
        named = {self._cache: kept, "use_cache": True}
        for _ in range(count):
            logits = self.network(input_ids=seen, **named).logits[:, -1, : self.vocabulary]
            seen = next_tokens(logits, temperature, generator)
            tokens = torch.cat([tokens, seen], 1)
        return tokens


def build_causal(where: str, weights: object, *, data: TextDataset | None, **options: Any) -> CausalModel:
    """Build a causal language model of the library `transformers`.

    Args:
        where: a folder that ``save_pretrained`` wrote, or a name on Hugging Face's hub. Code that comes with a model is
            never run.
        weights: ``DEFAULT`` for those that are there; ``None`` for random ones, for which ``config.json`` is enough.
        data: the text that it is for. Its tokens must be those of the model's tokenizer; with random weights a folder
            without a tokenizer will do, and the model gets as many tokens as the text has.
        options: with random weights, entries of the configuration, such as ``num_hidden_layers=4``.

    Raises:
        ArgumentError: ``transformers`` isn't installed, no ``data``, other tokens than the text's, rows longer than the
            model can take, options beside weights or unknown ones.
        DataError: there is no such model, it can't be downloaded, or it isn't a causal language model.
    """
    library = transformers("A model of Hugging Face")
    if data is None:
        raise ArgumentError(
            f"transformers:{where} needs data=, a text in its own tokens: "
            "kdcourse.data.text_folder(PATH, vocabulary=kdcourse.data.TokenizerVocabulary.load(NAME))."
        )
    size = len(data.vocabulary)
    check_there(where)
    try:
        config = library.AutoConfig.from_pretrained(where, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _unreadable(where, error) from error
    _check_tokens(where, data, random=weights is None)
    if weights is None:
        network = _with_random_weights(library, where, config, options, data)
    elif options:
        raise ArgumentError(
            f"{', '.join(options)} can be chosen for random weights alone (weights=None); the weights of {where} fit "
            "its own configuration."
        )
    else:
        try:
            network, told = library.AutoModelForCausalLM.from_pretrained(
                where, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
            )
        except _LOADING as error:
            raise _unreadable(where, error) from error
        if told["missing_keys"]:
            raise DataError(
                f"{where} lacks weights of {type(network).__name__}: {', '.join(sorted(told['missing_keys'])[:3])}"
                f"{', ...' if len(told['missing_keys']) > 3 else ''}. They would be random. Is it of another kind?"
            )
    model = CausalModel(network, size)
    if model.context is not None and data.context > model.context:
        raise ArgumentError(
            f"{where} takes at most {model.context} tokens, and the rows of {data.name!r} have {data.context}. Read "
            f"the text with context={model.context}."
        )
    _check_causal(model, where, data.context)
    return model.train()


def _with_random_weights(
    library: Any, where: str, config: Any, entries: Mapping[str, Any], data: TextDataset
) -> nn.Module:
    known = config.to_dict().keys() | type(config).attribute_map.keys()
    if unknown := sorted(entries.keys() - known):
        raise ArgumentError(
            f"The configuration of {where} ({type(config).__name__}) has no entry {unknown[0]!r}; it has "
            f"{', '.join(sorted(known))}."
        )
    of_text, end = config.get_text_config(), data.vocabulary.end
    ends = ("bos_token_id", "eos_token_id", "pad_token_id")  # those that are there are of other tokens
    changes = {name: end for name in ends if getattr(of_text, name, None) is not None}
    try:
        for name, value in entries.items():
            setattr(config, name, value)
        for name, value in {"vocab_size": len(data.vocabulary), **changes}.items():
            setattr(of_text, name, value)
        type(config)(**config.to_dict())  # some check their entries here alone
        network: nn.Module = library.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # of many kinds
        raise ArgumentError(
            f"No model can be built from the configuration of {where}"
            f"{' with ' if entries else ''}{', '.join(f'{name}={value!r}' for name, value in entries.items())}: "
            f"{first_line(error)}"
        ) from error
    return network


@torch.no_grad()
def _check_causal(model: CausalModel, where: str, context: int) -> None:
    """Raise unless the logits after a token are the same whatever follows it."""
    tokens = torch.arange(min(8, context)).repeat(2, 1) % model.vocabulary
    tokens[1, -1] = (tokens[1, -1] + 1) % model.vocabulary
    one, other = model.eval()(tokens)[:, :-1]
    if not torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().amax().clamp(min=1e-6))):
        raise ArgumentError(
            f"{where} is no causal language model: what it expects after a token depends on later ones, as in models "
            "that fill in gaps. Take one that was trained to continue text."
        )


def _check_tokens(where: str, data: TextDataset, *, random: bool) -> None:
    """Raise unless the model's tokenizer is the text's vocabulary; one with random weights may have no tokenizer."""
    own: TokenizerVocabulary | None
    try:
        own = TokenizerVocabulary.load(where)
    except DataError:
        if not random:
            raise
        own = None
    if own is None or own.digest == data.vocabulary.digest:
        return
    raise ArgumentError(
        f"{where} has other tokens than {data.name!r}: {own!r} against {data.vocabulary!r}"
        f"{_first_difference(own, data.vocabulary)}. Teacher and student are compared token by token, so they need one "
        "vocabulary. Take a student of the teacher's family, or build one with random weights from a configuration "
        "without a tokenizer."
    )


def _first_difference(own: TokenizerVocabulary, other: object) -> str:
    if not isinstance(other, TokenizerVocabulary):
        return ""
    mine, theirs = own.numbers, other.numbers
    for token in sorted(mine.keys() | theirs.keys(), key=lambda one: mine.get(one, len(mine))):
        if mine.get(token) != theirs.get(token):
            said = [
                f"number {found}" if found is not None else "missing"
                for found in (mine.get(token), theirs.get(token))
            ]
            return f"; the first that differs is {token!r}: {said[0]} and {said[1]}"
    return "; they cut the same text differently"


def _unreadable(where: str, error: Exception) -> DataError:
    what = "holds no causal language model that can be read" if Path(where).is_dir() else "can't be had"
    return unreadable(f"{where} {what}", first_line(error))
