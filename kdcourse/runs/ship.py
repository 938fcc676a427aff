"""Write a stored student as a file for another runtime, after comparing the file's answers with PyTorch's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor, nn

import kdcourse
from kdcourse import deploy, evaluation, models, training
from kdcourse.data import Dataset, SegmentationDataset, fashion_mnist, image_folder
from kdcourse.deploy.c_header import CODE, STACK
from kdcourse.errors import ArgumentError, CheckpointError
from kdcourse.files import read_checksums, sha256, shipped, write_atomically
from kdcourse.runs.tasks import SEGMENTATION
from kdcourse.training.weights import read_tensors

Say = Callable[[str], None]
Kind = Literal["onnx", "onnx-int8", "executorch", "c"]
_ENDINGS = {"onnx": ".onnx", "onnx-int8": ".int8.onnx", "executorch": ".pte", "c": ".h"}
# Largest difference of logits that rounding explains, as a share of the largest logit, or of 1 where that is less.
_TOLERANCE = 1e-4
_LICENCE = "MIT, the kdcourse authors"  # of the weights in the course's own folders
_OWN = ("students", "teachers", "segmentation-teachers", "segmentation-students")


@dataclass(frozen=True)
class ShipOptions:
    """Hold the options of `kdcourse ship`, one per field.

    ``out`` is by default the student's name with another ending, in the working folder. ``weights`` is for ``c`` alone:
    ``int8`` (the default) or ``float``. ``folder`` and ``size`` are those of a student of the user's own images.
    """

    student: Path
    to: str
    out: Path | None = None
    weights: str | None = None
    folder: Path | None = None
    size: int | None = None
    licence: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Comparison:
    """Hold how the answers of a file to ``images`` test images differ from PyTorch's.

    Attributes:
        different: images, or for masks pixels, for which it names another class.
        difference: the largest between two logits.
        accuracy, reference: of the file, and of PyTorch; for masks mean IoU.
        close: whether no logits differ by more than rounding explains.
        pixels: of all images together, for masks.
    """

    images: int
    different: int
    difference: float
    accuracy: float
    reference: float
    close: bool
    pixels: int | None = None


@dataclass(frozen=True)
class Shipped:
    """Hold what `ship` wrote: the file and its bytes, how it answers, and for C its memory in bytes."""

    path: Path
    bytes: int
    comparison: Comparison
    flash: int | None = None
    ram: int | None = None


@dataclass(frozen=True)
class Student:
    """Hold a stored network in eval mode, its images, and what its file tells of it."""

    model: nn.Module
    name: str
    data: Dataset | SegmentationDataset
    notes: Mapping[str, Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """Return what every form of the file is told."""
        data = self.data
        return {"classes": data.classes, "mean": data.mean, "std": data.std}


def ship(options: ShipOptions, say: Say = print) -> Shipped:
    """Write one file for another runtime: ``onnx``, ``onnx-int8``, ``executorch`` or ``c``.

    Before it is written, its answers to all test images are compared with PyTorch's. A file that answers otherwise
    than rounding explains isn't written; rounding to int8 is told as it is, with the accuracy before and after.

    Raises:
        KdcourseError: unusable options or files, a network that can't be written, a package that is missing; each error
            says what to do. Nothing is written then.
    """
    out = _target(options)
    student = load_student(options.student, folder=options.folder, size=options.size)
    facts = _facts(options, student)
    say(f"{options.student.name}: {student.name}, {sum(p.numel() for p in student.model.parameters()):,} parameters, "
        f"{options.student.stat().st_size:,} bytes.")  # fmt: skip
    if isinstance(student.data, Dataset):
        logits = evaluation.predict(student.model, student.data.test, student.data)
    elif options.to == "onnx":
        logits = evaluation.predict_logits(student.model, student.data.test, student.data)
    else:
        raise ArgumentError(
            f"{options.student} holds {student.name}, which finds a class for every pixel; --to {options.to} writes "
            "classifiers. Use --to onnx."
        )
    try:
        if options.to == "c":
            return _ship_c(options, student, facts, logits, out, say)
        if options.to == "executorch":
            return _ship_executorch(student, facts, logits, out, say)
        return _ship_onnx(options, student, facts, logits, out, say)
    except ImportError as error:
        raise ArgumentError(str(error)) from error


def load_student(path: Path, *, folder: Path | None = None, size: int | None = None) -> Student:
    """Return the network of a file that `kdcourse run` or ``kdcourse students record`` wrote, and its images.

    Args:
        path: the file. Its notes name the model, with ``options`` of `kdcourse.models.build` if it has some.
        folder, size: of the images that it was trained on, if those are the user's own.

    Raises:
        CheckpointError: no such file, or one that holds something else.
        ArgumentError: a network for masks of the user's own, or images of other classes.
    """
    notes = read_tensors(path)[1]
    identity = notes.get("identity") or {}
    name = (identity.get("recipe") or {}).get("model") or notes.get("model")
    classes = identity.get("classes") or notes.get("classes")
    if "position" in notes:
        raise CheckpointError(
            f"{path} is the checkpoint of a training under way, not a finished model. Let the same command complete it."
        )
    if not (isinstance(name, str) and classes):
        raise CheckpointError(
            f"{path} doesn't say which network it holds and for which classes. Files in the folder 'students' of "
            "kdcourse run do. For weights of your own call kdcourse.deploy.export_onnx or kdcourse.deploy.c_header in "
            "Python."
        )
    data: Dataset | SegmentationDataset
    if name in models.names("segmentation"):
        if folder is not None:
            raise ArgumentError(
                f"{path} holds {name}, which finds a class for every pixel, and --data is for classifiers. In Python, "
                "kdcourse.deploy.export_onnx writes a network for your own masks."
            )
        data = SEGMENTATION.student_data()
    else:
        data = fashion_mnist() if folder is None else image_folder(folder, size=size or 28)
    if list(data.classes) != list(classes):
        raise ArgumentError(
            f"{path} is for the classes {', '.join(classes[:4])}{', ...' * (len(classes) > 4)} ({len(classes)}), and "
            f"{data.name!r} has {', '.join(data.classes[:4])}{', ...' * (len(data.classes) > 4)} "
            f"({len(data.classes)}). Name the folder of the images that it was trained on: --data FOLDER --size PIXELS."
        )
    model = models.build(name, data=data, **(notes.get("options") or {}))
    training.load_weights(model, path)
    return Student(model.eval(), name, data, notes)


def compare(logits: Tensor, reference: Tensor, labels: Tensor) -> Comparison:
    """Compare logits [N, classes] of a file with PyTorch's; or, if ``labels`` are masks, [N, classes, H, W]."""
    difference = float((logits - reference).abs().max())
    classes, expected = logits.argmax(1), reference.argmax(1)
    masks = labels.ndim == 3

    def score(of: Tensor) -> float:
        if masks:
            return evaluation.mean_iou(of.argmax(1), labels, of.shape[1])
        return evaluation.accuracy(of, labels)

    return Comparison(
        len(labels),
        int((classes != expected).sum()),
        difference,
        score(logits),
        score(reference),
        difference <= _TOLERANCE * max(1.0, float(reference.abs().max())),
        labels.numel() if masks else None,
    )


def _target(options: ShipOptions) -> Path:
    """Return the file to write, after checking what can be checked at once."""
    if options.to not in get_args(Kind):
        raise ArgumentError(f"--to must be one of {', '.join(get_args(Kind))}; found {options.to!r}.")
    if options.weights is not None and options.to != "c":
        raise ArgumentError(f"--weights is for --to c; found --to {options.to}. Leave it out.")
    if options.size is not None and options.folder is None:
        raise ArgumentError("--size is about images of your own. Add --data FOLDER, or leave it out.")
    out = options.out or Path(options.student.stem + _ENDINGS[options.to])
    if out.is_dir():
        out /= options.student.stem + _ENDINGS[options.to]
    if out.exists() and not options.overwrite:
        raise ArgumentError(f"{out} is there already. Name another file with --out, or add --overwrite.")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ArgumentError(
            f"{out} can't be written: {parent} is not a folder that you may write to. Use --out."
        )
    return out


def _facts(options: ShipOptions, student: Student) -> dict[str, Any]:
    """Return what the file tells of its licence and of how it was made; no path of this machine."""
    digest = sha256(options.student)
    own = {each for name in _OWN for each in read_checksums(shipped(name)).values()}
    identity = student.notes.get("identity") or {}
    made = {
        "by": f"kdcourse {kdcourse.__version__}",
        "from": options.student.name,
        "sha256": digest,
        "model": student.name,
        "training": identity.get("recipe") or student.notes.get("settings"),
        "seed": identity.get("seed"),
        "teacher": identity.get("teacher"),
        "data": student.data.name,
    }
    licence = options.licence or (_LICENCE if digest in own else "not stated; ask whoever trained it")
    return {"licence": licence, "made": {key: value for key, value in made.items() if value is not None}}


def _ship_onnx(
    options: ShipOptions, student: Student, facts: dict[str, Any], logits: Tensor, out: Path, say: Say
) -> Shipped:
    data = student.data
    plain = onnx_content(student, facts)
    content = plain
    if options.to == "onnx-int8":
        content = onnx_int8_content(student, facts)
        say(
            f"Calibrated on {len(_calibration(student))} training images; weights per channel, activations per tensor."
        )
    file = deploy.OnnxFile(content)
    truth = data.test.labels if isinstance(data, Dataset) else data.test.masks
    found = compare(file.logits(data.test.images), logits, truth)
    _tell(found, f"onnxruntime {file.version}", say)
    if options.to == "onnx-int8":
        say(f"Bytes: {len(content):,}; in float {len(plain):,}.")
        _tell_times(deploy.compare_times(deploy.OnnxFile(plain), file, data.test.images[:1]), say)
    else:
        _refuse_unless_close(found, "The ONNX file")
        say(f"Bytes: {len(content):,}.")
    return _written(Shipped(out, len(content), found), content, say)


def _ship_executorch(student: Student, facts: dict[str, Any], logits: Tensor, out: Path, say: Say) -> Shipped:
    data = student.data
    assert isinstance(data, Dataset)  # `ship` has refused others
    content = deploy.export_executorch(
        student.model, image_shape=data.image_shape, notes=facts, **student.arguments
    )
    file = deploy.ExecutorchFile(content)
    found = compare(file.logits(data.test.images), logits, data.test.labels)
    _tell(found, f"executorch {file.version}", say)
    _refuse_unless_close(found, "The file for ExecuTorch")
    say(f"Bytes: {len(content):,}. One image per call; the device's runtime needs the backend XNNPACK.")
    return _written(Shipped(out, len(content), found), content, say)


def onnx_content(student: Student, facts: Mapping[str, Any]) -> bytes:
    """Return the content of an ONNX file in float; ``facts`` go into its metadata."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        deploy.export_onnx(
            student.model, path, image_shape=student.data.image_shape, notes=facts, **student.arguments
        )
        return path.read_bytes()


def onnx_int8_content(student: Student, facts: Mapping[str, Any]) -> bytes:
    """Return the content of an ONNX file in int8, calibrated on training images."""
    return deploy.export_onnx_int8(
        student.model, images=_calibration(student), notes=facts, **student.arguments
    )


def _calibration(student: Student) -> Tensor:
    data = student.data
    assert isinstance(data, Dataset)  # `ship` has refused others
    step = max(1, len(data.train) // deploy.CALIBRATION)
    return data.train.images[::step][: deploy.CALIBRATION]


def _ship_c(
    options: ShipOptions, student: Student, facts: dict[str, Any], logits: Tensor, out: Path, say: Say
) -> Shipped:
    data, weights = student.data, options.weights or "int8"
    assert isinstance(data, Dataset)  # `ship` has refused others
    header = deploy.c_header(
        student.model, image_shape=data.image_shape, weights=weights, notes=facts, **student.arguments  # type: ignore[arg-type]
    )  # fmt: skip
    reference = logits
    if weights == "int8":
        reference = evaluation.predict(deploy.with_rounded_weights(student.model), data.test, data)
        say("Weights rounded to int8, one scale per channel; activations and arithmetic are float.")
    compiler = deploy.find_compiler()
    if compiler is None:
        say(
            "There is no C compiler here (cc, gcc, clang, $CC): the header was not compiled. PyTorch with its weights:"
        )
        found = compare(reference, logits, data.test.labels)
        _tell(found, "PyTorch", say)
    else:
        answers = deploy.compiled_logits(header, data.test.images, compiler=compiler)
        exact = compare(answers, reference, data.test.labels)
        _refuse_unless_close(exact, "The compiled header")
        if weights == "int8":
            say(f"Compiled by {Path(compiler).name}: {exact.different} of {exact.images:,} answers differ from "
                f"PyTorch's with the same rounded weights, logits by at most {exact.difference:.1e}.")  # fmt: skip
        found = compare(answers, logits, data.test.labels)
        _tell(found, "the compiled header", say)
    board = deploy.Board()
    fits = "fits" if header.fits(board) else "does not fit"
    say(f"Flash: {header.flash:,} bytes of tables (KD_FLASH) and about {CODE:,} of code. RAM: {header.ram:,} bytes "
        f"(KD_RAM) and about {STACK:,} of stack. This {fits} on a board with {board.flash // 1024} kB of flash and "
        f"{board.ram // 1024} kB of RAM. {header.macs:,} multiply-accumulates per image, in float.")  # fmt: skip
    return _written(
        Shipped(out, len(header.text), found, header.flash, header.ram), header.text.encode(), say
    )


def _tell(found: Comparison, who: str, say: Say) -> None:
    score = "Accuracy" if found.pixels is None else "Mean IoU"
    different = (
        f"{found.different:,}" if found.pixels is None else f"{found.different:,} of {found.pixels:,} pixels"
    )
    say(
        f"Answers of {who} to {found.images:,} test images: {different} differ from PyTorch's, logits by at "
        f"most {found.difference:.2g}. {score}: {found.accuracy:.2%}; in PyTorch {found.reference:.2%}."
    )


def _tell_times(times: deploy.Times, say: Say) -> None:
    low, high = times.ratio_quartiles
    told = f"{times.ratio:.2f} times float's time (quartiles {low:.2f} to {high:.2f}; one image, one thread)"
    if low > 1:
        say(
            f"On this processor int8 is slower than float: {told}. In a small network, turning numbers into bytes and "
            "back between layers takes longer than int8 products save."
        )
    else:
        say(f"On this processor int8 takes {told}.")


def _refuse_unless_close(found: Comparison, what: str) -> None:
    if not found.close:
        raise ArgumentError(
            f"{what} answers otherwise than PyTorch: {found.different:,} of {found.images:,} answers differ, logits by "
            f"up to {found.difference:.2g}, more than rounding explains. Nothing was written. Please report this, with "
            "the student's file."
        )


def _written(done: Shipped, content: bytes, say: Say) -> Shipped:
    try:
        write_atomically(done.path, content)
    except OSError as error:
        raise ArgumentError(
            f"{done.path} can't be written: {error}. Name another file with --out."
        ) from error
    say(f"Written: {done.path}")
    return done
