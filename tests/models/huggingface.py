"""Tiny Hugging Face models with random weights, made here, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from kdcourse.data import TextDataset, TokenizerVocabulary, text_folder

WORDS = [
    "the", "a", "cat", "dog", "bird", "sees", "hears", "likes", "red", "small", "old", "tree", "house", "river", "and",
    "then", "quickly", "never",
]  # fmt: skip


def texts(folder: Path, documents: int = 60, words: int = 40) -> Path:
    """Write documents of random words, in which each word depends on the one before."""
    draw = torch.Generator().manual_seed(0)
    folder.mkdir()
    for number in range(documents):
        place, said = number % len(WORDS), []
        for step in torch.randint(1, 4, (words,), generator=draw).tolist():
            place = (3 * place + step) % len(WORDS)
            said.append(WORDS[place])
        (folder / f"{number}.txt").write_text(" ".join(said))
    return folder


def tokenizer(words: list[str] = WORDS, end: str = "<end>") -> Any:
    """Return a tokenizer whose tokens are words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    numbers = {word: number for number, word in enumerate(["?", *words])}
    made = Tokenizer(models.WordLevel(numbers, "?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token=end, unk_token="?")


def model(folder: Path, kind: str = "gpt2", *, width: int = 16, seed: int = 0, **entries: Any) -> Path:
    """Save a model with random weights: ``gpt2`` returns five logits too many, ``llama`` none."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    size = len(WORDS) + 2
    ends = {"bos_token_id": size - 1, "eos_token_id": size - 1}
    if kind == "gpt2":
        shape = {"n_positions": 32, "n_embd": width, "n_layer": 2, "n_head": 2, "initializer_range": 0.3}
        GPT2LMHeadModel(GPT2Config(**{"vocab_size": size + 5, **shape, **ends, **entries})).save_pretrained(
            folder
        )
    else:
        shape = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 1}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 32}
        LlamaForCausalLM(
            LlamaConfig(**{"vocab_size": size, **shape, **heads, **ends, **entries})
        ).save_pretrained(folder)
    return folder


def text_of(folder: Path, documents: Path, context: int = 16) -> TextDataset:
    """Return the documents in the tokens of the model in ``folder``."""
    return text_folder(documents, vocabulary=TokenizerVocabulary.load(folder), context=context)
