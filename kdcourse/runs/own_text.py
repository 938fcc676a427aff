"""Distil a Hugging Face causal language model into a smaller one, on a text of one's own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

import kdcourse
from kdcourse import evaluation, models, training
from kdcourse.data import TextDataset, TokenizerVocabulary, text_file, text_folder
from kdcourse.distillation import distil, methods, teacher_digest
from kdcourse.errors import ArgumentError, CheckpointError, DataError
from kdcourse.evaluation.language import LanguageScores
from kdcourse.files import write_atomically
from kdcourse.models.causal import CausalModel
from kdcourse.training import Settings
from kdcourse.training.placement import Placement

NOTES = "kdcourse.json"  # beside the student's weights
_CHECKPOINT = 100  # steps between checkpoints
_UNKNOWN = 0.2  # share of tokens that a tokenizer may not know
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """Hold the options of `kdcourse distil`, one per field.

    Args:
        teacher: a folder that ``save_pretrained`` wrote, or a name on Hugging Face's hub.
        student: likewise; with ``random`` it begins with random weights, for which a ``config.json`` is enough.
        text: a folder of texts, or one file.
        out: the folder that the student is written to, which must not be there yet.
        random: see ``student``.
        config: changed entries of its configuration, such as ``{"num_hidden_layers": 4}``; with ``random`` alone.
        methods: of those for tokens.
        method_settings: of these.
        alpha: weight of their terms, see `kdcourse.distillation.distil`.
        context: tokens of a row.
        baseline: whether a twin of the student learns from the text alone as well, in as many steps.
        training: how students are trained.
    """

    teacher: str
    student: str
    text: Path
    out: Path
    random: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    methods: Sequence[str] = ("token_kl",)
    method_settings: Mapping[str, Any] = field(default_factory=dict)
    alpha: float = 0.9
    context: int = 256
    baseline: bool = False
    training: Settings


def distil_text(options: TextOptions, say: Say = print) -> dict[str, LanguageScores] | None:
    """Distil a student, write it with its tokenizer as ``save_pretrained`` does, and say what it is worth.

    The folder also gets ``kdcourse.json``: settings, texts and scores. A training that was interrupted resumes from a
    checkpoint beside it when the same call is made again; another call begins anew. Under ``accelerate launch`` all
    processes train, and the main one alone evaluates, writes and says something.

    Returns:
        Scores on the test documents by name: ``teacher``, ``student before``, ``student`` and, with ``baseline``,
        ``text alone``; ``None`` in a process that isn't the main one.

    Raises:
        KdcourseError: unusable options, texts or models; each error says what to do. Nothing is written then.
    """
    place = Placement(options.training.device)
    tell: Say = say if place.is_main else lambda _: None
    _check(options)
    used = methods.build(options.methods, **options.method_settings)
    text = _text(options, tell)
    teacher = models.build(f"transformers:{options.teacher}", data=text, weights="DEFAULT")
    student = _student(options, text)
    tell(
        f"teacher {_size(teacher):,} parameters, student {_size(student):,}; {len(text.train):,} rows of "
        f"{text.context} tokens from {len(text.documents['train']):,} documents"
    )
    scores: dict[str, LanguageScores] = {}
    precision = options.training.precision
    if precision == "auto":
        precision = training.usual_precision(place.device)

    def measure(name: str, model: nn.Module) -> None:
        if place.is_main:
            known = None if model is teacher else teacher
            model.to(place.device), teacher.to(place.device)
            scores[name] = evaluation.evaluate_language(model, text.test, known, precision=precision)
            tell(_line(name, scores[name]))

    measure("teacher", teacher)
    if not options.random:
        measure("student before", student)
    # Named after all that the training depends on: whatever else is called is another training.
    begun = f"{options}{teacher_digest(teacher)}{teacher_digest(student)}{text.train.digest}"
    mark = hashlib.sha256(begun.encode()).hexdigest()[:8]
    checkpoint = options.out.with_name(f"{options.out.name}.{mark}.checkpoint.safetensors")
    history = distil(
        student, teacher, text, options.training, method=used, alpha=options.alpha, cache=False,
        checkpoint=checkpoint, checkpoint_every=_CHECKPOINT, progress="student",
    )  # fmt: skip
    measure("student", student)
    if options.baseline:
        twin = _student(options, text)
        training.fit(twin, text, options.training, progress="text alone")
        measure("text alone", twin)
    if not place.is_main:
        return None
    notes = {
        "kdcourse": kdcourse.__version__,
        "teacher": options.teacher,
        "student": options.student,
        "random": options.random,
        "config": dict(options.config),
        "methods": [repr(method) for method in used],
        "alpha": options.alpha,
        "text": {
            "documents": {part: len(of) for part, of in text.documents.items()},
            "digest": text.train.digest,
        },
        "history": json.loads(history.to_json()),
        "scores": {name: asdict(of) for name, of in scores.items()},
    }
    try:
        _write(options, student, text, notes)
    except OSError as error:
        raise CheckpointError(
            f"{options.out} can't be written: {error}. What was trained is in {checkpoint}: when there is room, and no "
            "such folder, the same command goes on from there."
        ) from error
    checkpoint.unlink(missing_ok=True)
    tell(f"written to {options.out}: transformers.AutoModelForCausalLM.from_pretrained({str(options.out)!r})")
    return scores


def _check(options: TextOptions) -> None:
    if options.out.exists():
        raise ArgumentError(f"{options.out} is there already; choose another --out, or remove it.")
    try:  # now rather than after the training
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=options.out.parent):
            pass
    except OSError as error:
        raise ArgumentError(
            f"--out {options.out} can't be written: {error}. Choose a folder of yours that can."
        ) from error
    if not 0 < options.alpha <= 1:
        raise ArgumentError(
            f"--alpha, the teacher's weight, must lie above 0 and be at most 1; found {options.alpha}."
        )
    fitting = methods.names("tokens")
    for name in options.methods:
        if name not in fitting:
            raise ArgumentError(f"--method {name} is not for text. Choose one of {', '.join(fitting)}.")
    if options.config and not options.random:
        raise ArgumentError("--config changes the architecture, so it needs random weights: --random.")


def _text(options: TextOptions, say: Say) -> TextDataset:
    vocabulary = TokenizerVocabulary.load(options.teacher)
    if not options.text.is_dir():
        text = text_file(options.text, vocabulary=vocabulary, context=options.context)
    else:
        try:
            text = text_folder(options.text, vocabulary=vocabulary, context=options.context)
            few = len(text.documents["test"]) < 2
        except DataError:  # which says what is wrong below, if pieces don't help
            few = True
        if few:
            text = text_folder(options.text, vocabulary=vocabulary, context=options.context, pieces=True)
            say("The folder has few documents; each is cut into pieces of about 10,000 characters.")
    unknown = vocabulary.tokenizer.unk_token_id
    if unknown is not None and (share := float((text.train.tokens == unknown).double().mean())) > _UNKNOWN:
        raise ArgumentError(
            f"{share:.0%} of the tokens of {options.text} are unknown to the teacher's tokenizer. Take a teacher that "
            "knows the language and the letters of your text."
        )
    if len(text.documents["test"]) < 2:
        raise ArgumentError(
            f"{options.text} gives {sum(map(len, text.documents.values()))} documents of up to 10,000 characters, "
            "and an interval needs at least two for the test, which is a twentieth of them. Take 40, a text of about "
            "400 kB."
        )
    return text


def _student(options: TextOptions, text: TextDataset) -> CausalModel:
    torch.manual_seed(options.training.seed)
    weights = None if options.random else "DEFAULT"
    model = models.build(f"transformers:{options.student}", data=text, weights=weights, **options.config)
    assert isinstance(model, CausalModel)
    return model


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _line(name: str, scores: LanguageScores) -> str:
    bits = scores.bits_per_byte
    near = (
        "" if scores.agreement is None else f", agrees with the teacher on {scores.agreement:.1%} of tokens"
    )
    return f"{name}: {bits.mean:.3f} bits per byte ({bits.low:.3f} to {bits.high:.3f}){near}"


def _write(options: TextOptions, student: CausalModel, text: TextDataset, notes: Mapping[str, Any]) -> None:
    """Write the folder whole or not at all."""
    assert isinstance(text.vocabulary, TokenizerVocabulary)
    network: Any = student.network.cpu()
    # The student's own, which may have another chat template; its tokens are the same.
    own = text.vocabulary if options.random else TokenizerVocabulary.load(options.student)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=options.out.parent, prefix=f".{options.out.name}-"))
    try:
        network.save_pretrained(temporary)
        own.tokenizer.save_pretrained(temporary)
        write_atomically(temporary / NOTES, json.dumps(notes, indent=1) + "\n")
        for path in temporary.iterdir():
            os.chmod(path, 0o644)  # other users of a shared folder may read it
        os.chmod(temporary, 0o755)
        os.replace(temporary, options.out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
