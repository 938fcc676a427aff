"""Hugging Face's causal language models as the course's: logits, texts, and whose tokens they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from kdcourse import models
from kdcourse.data import ByteVocabulary, TextDataset, TokenizerVocabulary, text_folder
from kdcourse.distillation import continued
from kdcourse.errors import ArgumentError, DataError
from kdcourse.models.causal import CausalModel
from tests.models import huggingface as tiny

pytest.importorskip("transformers")
pytestmark = pytest.mark.slow(seconds=10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models ``gpt2`` and ``llama``, and ``texts``."""
    folder = tmp_path_factory.mktemp("models")
    tiny.texts(folder / "texts")
    for kind in ("gpt2", "llama"):
        tiny.model(folder / kind, kind)
        tiny.tokenizer().save_pretrained(folder / kind)
    return folder


@pytest.fixture(scope="module")
def text(folder: Path) -> TextDataset:
    return tiny.text_of(folder / "gpt2", folder / "texts")


def _built(folder: Path, kind: str, text: TextDataset) -> CausalModel:
    model = models.build(f"transformers:{folder / kind}", data=text, weights="DEFAULT")
    assert isinstance(model, CausalModel) and model.training
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_its_logits_are_those_of_the_tokens_that_there_are(
    kind: str, folder: Path, text: TextDataset
) -> None:
    from transformers import AutoModelForCausalLM

    model, tokens = _built(folder, kind, text), text.test.tokens[:3]
    known = AutoModelForCausalLM.from_pretrained(folder / kind).eval()(input_ids=tokens).logits
    assert known.shape[2] == len(text.vocabulary) + (5 if kind == "gpt2" else 0)
    assert torch.equal(model(tokens), known[..., : len(text.vocabulary)])


@torch.no_grad()
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_it_writes_the_likeliest_token_again_and_again(kind: str, folder: Path, text: TextDataset) -> None:
    model = _built(folder, kind, text)
    begun = expected = text.test.tokens[:3, :4]
    for _ in range(9):
        expected = torch.cat([expected, model(expected)[:, -1:].argmax(-1)], 1)
    assert torch.equal(continued(model, begun, 9, temperature=0), expected)
    drawn = [continued(model, begun, 9, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert int(torch.stack(drawn).max()) < len(text.vocabulary)


def test_a_vocabulary_loses_nothing_and_takes_what_looks_like_an_end_for_text(folder: Path) -> None:
    vocabulary = TokenizerVocabulary.load(folder / "gpt2")
    said = "the cat sees a red bird"
    assert vocabulary.decode(vocabulary.encode(said)) == said
    assert len(vocabulary) == len(vocabulary.tokens) == len(tiny.WORDS) + 2
    assert vocabulary.tokens[vocabulary.end] == "<|end|>" and vocabulary.tokens[1] == "the"
    assert vocabulary.end not in vocabulary.encode("the <end> cat")


def test_random_weights_need_a_configuration_alone(tmp_path: Path, folder: Path, text: TextDataset) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_bytes((folder / "gpt2" / "config.json").read_bytes())
    name = f"transformers:{tmp_path / 'bare'}"
    torch.manual_seed(0)
    model = models.build(name, data=text, n_layer=1)
    assert model(text.test.tokens[:2]).shape == (2, 16, len(text.vocabulary))
    assert len(model.network.transformer.h) == 1 and model.network.config.vocab_size == len(text.vocabulary)
    shallow = models.build(name, data=text, num_hidden_layers=1)  # transformers' common name of n_layer
    assert len(shallow.network.transformer.h) == 1
    with pytest.raises(ArgumentError, match=r"GPT2Config\) has no entry 'layers'; it has .*n_layer"):
        models.build(name, data=text, layers=1)
    with pytest.raises(DataError, match=r"tokenizer of .*bare can't be read"):
        models.build(name, data=text, weights="DEFAULT")


def test_other_tokens_are_refused(tmp_path: Path, folder: Path, text: TextDataset) -> None:
    tiny.model(tmp_path / "other", vocab_size=40)
    swapped = [tiny.WORDS[1], tiny.WORDS[0], *tiny.WORDS[2:]]
    said = {
        "swapped": (swapped, r"the first that differs is 'a': number 1 and number 2"),
        "longer": ([*tiny.WORDS, "fox"], r"the first that differs is 'fox': number 19 and missing"),
    }
    for words, message in said.values():
        tiny.tokenizer(words).save_pretrained(tmp_path / "other")
        with pytest.raises(
            ArgumentError, match=rf"(?s)has other tokens than 'texts': .*{message}.*one vocabulary"
        ):
            models.build(f"transformers:{tmp_path / 'other'}", data=text, weights="DEFAULT")
    cut = tiny.tokenizer()
    cut.backend_tokenizer.pre_tokenizer = None
    cut.save_pretrained(tmp_path / "other")
    with pytest.raises(ArgumentError, match="they cut the same text differently"):
        models.build(f"transformers:{tmp_path / 'other'}", data=text, weights="DEFAULT")
    read_as_bytes = text_folder(folder / "texts", vocabulary=ByteVocabulary(), context=16)
    with pytest.raises(ArgumentError, match=r"has other tokens than 'texts': .*ByteVocabulary\(\)"):
        models.build(f"transformers:{folder / 'gpt2'}", data=read_as_bytes)


def test_what_cannot_be_built(tmp_path: Path, folder: Path, text: TextDataset) -> None:
    name = f"transformers:{folder / 'gpt2'}"
    with pytest.raises(DataError, match=r"There is no folder .*/nowhere\. Check the path or the name"):
        models.build(f"transformers:{tmp_path}/nowhere", data=text)
    with pytest.raises(ArgumentError, match="needs data=, a text in its own tokens"):
        models.build(name)
    with pytest.raises(ArgumentError, match=r"takes at most 32 tokens, and the rows .* have 40.*context=32"):
        models.build(name, data=tiny.text_of(folder / "gpt2", folder / "texts", 40))
    with pytest.raises(ArgumentError, match="n_layer can be chosen for random weights alone"):
        models.build(name, data=text, weights="DEFAULT", n_layer=1)
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ArgumentError, match=r"No model can be built from the configuration of .*ViTConfig"):
        models.build(f"transformers:{tmp_path}", data=text)
    with pytest.raises(ArgumentError, match=r"No model can be built .* with n_head=3: "):
        models.build(name, data=text, n_head=3)
    broken = tiny.model(tmp_path / "broken")
    tiny.tokenizer().save_pretrained(broken)
    (broken / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(DataError, match="holds no causal language model that can be read"):
        models.build(f"transformers:{broken}", data=text, weights="DEFAULT")
    small = tiny.model(tmp_path / "small", vocab_size=10)
    tiny.tokenizer().save_pretrained(small)
    with pytest.raises(ArgumentError, match="knows 10 tokens, and its text has 20"):
        models.build(f"transformers:{small}", data=text, weights="DEFAULT")


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path, text: TextDataset) -> None:
    from safetensors.torch import load_file, save_file

    part = tiny.model(tmp_path / "part")
    tiny.tokenizer().save_pretrained(part)
    weights = load_file(part / "model.safetensors")
    lost = next(name for name in weights if "mlp" in name)
    save_file(
        {name: of for name, of in weights.items() if name != lost},
        part / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(DataError, match=rf"lacks weights of GPT2LMHeadModel: .*{lost.rpartition('.h.')[2]}"):
        models.build(f"transformers:{part}", data=text, weights="DEFAULT")


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path, text: TextDataset) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "code.py").write_text(f"open({str(ran)!r}, 'w')\nclass Config: ...\nclass Model: ...\n")
    ways = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mine", "auto_map": ways}))
    tiny.tokenizer().save_pretrained(tmp_path)
    for weights in ("DEFAULT", None):
        with pytest.raises(DataError, match="holds no causal language model that can be read"):
            models.build(f"transformers:{tmp_path}", data=text, weights=weights)
    assert not ran.exists()


def test_a_model_that_looks_ahead_is_refused(tmp_path: Path, text: TextDataset) -> None:
    from transformers import BertConfig, BertLMHeadModel

    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertLMHeadModel(
        BertConfig(vocab_size=20, max_position_embeddings=32, initializer_range=0.5, **shape)
    ).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(
        ArgumentError, match=r"is no causal language model: what it expects .* depends on later ones"
    ):
        models.build(f"transformers:{tmp_path}", data=text, weights="DEFAULT")


def test_random_weights_have_the_texts_special_tokens(tmp_path: Path, text: TextDataset) -> None:
    tiny.model(tmp_path, vocab_size=5000, bos_token_id=4999, eos_token_id=4999, pad_token_id=4998)
    model = models.build(f"transformers:{tmp_path}", data=text)
    config = model.network.config
    assert {config.bos_token_id, config.eos_token_id, config.pad_token_id} == {text.vocabulary.end}
    assert model.network.generation_config.eos_token_id == text.vocabulary.end


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path) -> None:
    made = tiny.tokenizer()
    made.eos_token = None
    with pytest.raises(DataError, match="has no end-of-text token"):
        TokenizerVocabulary(made)


def test_without_transformers_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        ArgumentError, match=r"isn't installed\. Install it with pip install 'kdcourse\[transformers\]'"
    ):
        TokenizerVocabulary.load(tmp_path)
