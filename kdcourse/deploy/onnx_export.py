"""Export a model to ONNX, and compare the file with PyTorch before it is written."""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from kdcourse.errors import ArgumentError
from kdcourse.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto

OUTPUT = "logits"
OPSETS = range(18, 24)  # torch's exporter writes 18 and upwards; what runs today reads at most 23 for certain
_MOST_BYTES = 2_000_000_000  # protocol buffers, which ONNX is made of, end at 2 GiB a file
_REPORTED = 300  # characters of another library's message


@dataclass(frozen=True)
class Exported:
    """Describe the file that `export_onnx` wrote.

    ``input`` names the model's one input, ``pixels`` (uint8, 0 to 255) or ``images`` (float32,
    normalised). ``difference`` is the largest between PyTorch's logits and the file's, as a share of
    the largest logit or of 1, whichever is more; ``checked_with`` says what ran the file.
    """

    path: Path
    bytes: int
    sha256: str
    input: str
    opset: int
    difference: float
    checked_with: str


def export_onnx(
    model: nn.Module,
    path: Path | str,
    *,
    image_shape: tuple[int, int, int],
    classes: Sequence[str],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    opset: int = 18,
    tolerance: float = 1e-4,
    notes: Mapping[str, Any] | None = None,
) -> Exported:
    """Write ``model`` as one ONNX file (https://onnx.ai), after running it and comparing with PyTorch.

    A student of your own in three lines; its file then takes raw images, uint8 [batch, C, H, W]::

        from kdcourse.deploy import export_onnx
        data = kdcourse.data.fashion_mnist()
        export_onnx(student, "student.onnx", image_shape=data.image_shape, classes=data.classes,
                    mean=data.mean, std=data.std)

    With ``mean`` and ``std`` the normalisation of `kdcourse.data.Dataset.normalise` is part of the
    file: its input ``pixels`` is uint8 with values 0 to 255, and nobody who runs it can forget to
    normalise, or normalise otherwise than in training. Without them its input ``images`` is float32,
    already normalised. Its output ``logits`` is float32 [batch, classes] (or [batch, classes, H, W] from
    a segmenter). The batch may have any size. The file's metadata hold ``classes``, ``mean`` and ``std``
    as JSON, so it can be understood without the course.

    The file is exported from a copy in eval mode and float32; the model itself isn't touched. It is
    run on noise, flat images and a ramp, in batches of different sizes, by onnxruntime where that is
    installed and by onnx's own reference evaluator elsewhere; only a file that agrees is written, whole.
    The same model gives the same bytes, as long as torch, onnxscript and onnx stay the same. No path and
    no line of source code gets into it.

    Args:
        model: float32 [B, C, H, W] -> logits.
        path: where the file goes, usually ``NAME.onnx``.
        image_shape: C, H, W of one image; `Dataset.image_shape`.
        classes: their names in the order of the logits; `Dataset.classes`.
        mean, std: one number per channel, on the 0..1 scale; `Dataset.mean` and `Dataset.std`.
        opset: version of ONNX's set of operators, 18 to 23; older runtimes want a lower one.
        tolerance: how far the logits may be apart, as in `Exported.difference`.
        notes: further facts for the file's metadata, such as the licence; JSON-able.

    Raises:
        ArgumentError: arguments that don't fit one another or the model; a model that ONNX has no words
            for, that is too large, or whose file answers otherwise than PyTorch. Nothing is written then.
        ImportError: onnx or onnxscript is missing; says how to install them.
    """
    path = Path(path)
    _check_file(path, opset)
    check_arguments(image_shape, classes, mean, std)
    check_packages("onnx", "onnxscript")
    twin = Exportable(copy_of(model), mean, std).eval()
    batches = [random_images(size, image_shape, seed) for seed, size in enumerate((2, 1, 5))]
    if not twin.takes_pixels:
        batches = [batch / 64 - 2 for batch in batches]  # about what normalised images look like
    answers = [ask(twin, batches[0], classes)]
    try:
        answers += [ask(twin, batch, classes) for batch in batches[1:]]
    except ArgumentError as error:
        raise ArgumentError(
            f"The model takes {len(batches[0])} images at once, and not another number: {error} A number of images "
            "is written into its forward pass: use x.flatten(1), or x.shape[0] in view and reshape, and give squeeze "
            "a dimension."
        ) from error

    proto = _translated(twin, batches[0], opset)
    content = described(proto, classes, mean, std, notes or {})
    try:
        run, checked_with = _runner(content, twin.input)
        difference = max(
            largest_difference(run(batch), wanted) for batch, wanted in zip(batches, answers, strict=True)
        )
    except Exception as error:  # runtimes raise errors of their own kinds
        raise ArgumentError(
            f"The exported file can't be run: {brief(error)}. Nothing was written. Try another opset."
        ) from error
    if not difference <= tolerance:
        raise ArgumentError(
            f"The exported file answers otherwise than the model: its logits are {difference:.1e} of the largest "
            f"one apart, {tolerance:.0e} allowed ({checked_with}). Nothing was written. A model must give the "
            "same answer twice: look for random numbers in its forward pass; if there are none, try another opset."
        )
    write_atomically(path, content)
    digest = hashlib.sha256(content).hexdigest()
    return Exported(path, len(content), digest, twin.input, opset, difference, checked_with)


class Exportable(nn.Module):
    """Put the normalisation before the model, as arithmetic that ONNX can express."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        super().__init__()
        self.model = model
        self.takes_pixels = mean is not None and std is not None
        self.input = "pixels" if self.takes_pixels else "images"
        if mean is not None and std is not None:
            # As in kdcourse.data.Dataset.normalise: one multiplication, one subtraction.
            spread, centre = (torch.tensor(numbers).view(1, -1, 1, 1) for numbers in (std, mean))
            self.register_buffer("scale", 1 / (255 * spread))
            self.register_buffer("shift", centre / spread)

    def forward(self, images: Tensor) -> Tensor:
        if self.takes_pixels:
            images = images.float() * self.scale - self.shift
        answer: Tensor = self.model(images)
        return answer


def _check_file(path: Path, opset: int) -> None:
    if path.is_dir():
        raise ArgumentError(f"{path} is a folder; name the file that is to be written, such as student.onnx.")
    if opset not in OPSETS:
        raise ArgumentError(f"opset must be from {OPSETS[0]} to {OPSETS[-1]}; found {opset!r}.")


def check_arguments(
    image_shape: tuple[int, int, int],
    classes: Sequence[str],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> None:
    """Raise ArgumentError unless shape, classes and normalisation fit one another."""
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ArgumentError(
            f"image_shape must be (channels, height, width), each at least 1; found {tuple(image_shape)}. "
            "Use dataset.image_shape."
        )
    if isinstance(classes, str) or len(classes) < 2:
        raise ArgumentError(
            f"classes must name at least two classes in the order of the logits; found {classes!r}. "
            "Use dataset.classes."
        )
    if (mean is None) != (std is None):
        raise ArgumentError("mean and std go together; found one of them. Pass both, or neither.")
    if mean is not None and std is not None:
        fit = len(mean) == len(std) == image_shape[0] and all(map(math.isfinite, [*mean, *std]))
        if not fit or min(std) <= 0:
            raise ArgumentError(
                f"mean and std need one finite number for each of the {image_shape[0]} channel(s), std above 0; "
                f"found mean={tuple(mean)}, std={tuple(std)}. Use dataset.mean and dataset.std."
            )


def check_packages(*names: str) -> None:
    """Raise ImportError with a cure if one of these packages is missing."""
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ImportError(
                f"Exporting to ONNX needs {name}, which is not installed here. Install it with\n"
                '    pip install "kdcourse[deploy]"'
            ) from error


def copy_of(model: nn.Module) -> nn.Module:
    """Return a copy of one's own in eval mode on the CPU, in float32."""
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"model must be a torch.nn.Module; found {type(model).__name__}.")
    tensors = [*model.parameters(), *model.buffers()]
    size = 4 * sum(tensor.numel() for tensor in tensors if not is_lazy(tensor))
    if size > _MOST_BYTES:
        raise ArgumentError(
            f"The model's weights take {size / 1e9:.1f} GB; one ONNX file holds at most 2. Distil a smaller student."
        )
    if any(tensor.is_meta or is_lazy(tensor) for tensor in tensors):
        raise ArgumentError(
            "The model has no weights yet (lazy layers, or device 'meta'). Train it or load its weights first."
        )
    # A student that was just trained may still carry gradients, which a copy has no use for.
    twin = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    if not all(torch.isfinite(tensor).all() for tensor in twin.state_dict().values()):
        raise ArgumentError("The model has weights that are not finite numbers. Its training diverged.")
    return twin


def random_images(count: int, image_shape: tuple[int, int, int], seed: int) -> Tensor:
    """Return uint8 [count, C, H, W]: noise, and of five or more, a ramp, a black and a white image."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, (count, *image_shape), generator=generator, dtype=torch.uint8)
    if count > 4:
        noise[2] = torch.linspace(0, 255, image_shape[2]).to(torch.uint8)
        noise[3], noise[4] = 0, 255
    return noise


def ask(model: nn.Module, images: Tensor, classes: Sequence[str]) -> Tensor:
    """Return PyTorch's logits, checked for what every later step relies on."""
    try:
        with torch.no_grad():
            answer = model(images)
    except Exception as error:  # whatever a model of someone else's raises
        raise ArgumentError(
            f"The model can't take a batch of {len(images)} images of shape {tuple(images.shape[1:])}: "
            f"{brief(error)}. Pass the image_shape that it was built for."
        ) from error
    if not isinstance(answer, Tensor):
        raise ArgumentError(
            f"The model must return one tensor of logits; found {type(answer).__name__}. "
            "Wrap it in a module that picks the logits."
        )
    if answer.ndim not in (2, 4) or answer.shape[:2] != (len(images), len(classes)):
        raise ArgumentError(
            f"Logits for {len(images)} images and {len(classes)} classes must be [{len(images)}, {len(classes)}] "
            f"or [{len(images)}, {len(classes)}, H, W]; found {list(answer.shape)}. Pass the classes of the model."
        )
    if not torch.isfinite(answer).all():
        raise ArgumentError(
            "The model's logits are not finite numbers. Check its weights and its mean and std."
        )
    return answer


def _translated(model: Exportable, images: Tensor, opset: int) -> ModelProto:
    """Translate the model to ONNX with torch's exporter.

    By the one that builds on ``torch.export`` (and needs onnxscript): the older one, on TorchScript, is
    deprecated and on its way out.
    """
    try:
        with quiet():
            program = torch.onnx.export(
                model, (images,), dynamo=True, opset_version=opset, verbose=False, external_data=False,
                input_names=[model.input], output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )  # fmt: skip
        assert program is not None  # only the older exporter returns nothing
        proto: ModelProto = program.model_proto
    except Exception as error:  # torch raises errors of many kinds here
        cause = error.__cause__ or error
        raise ArgumentError(
            f"torch can't express this model in ONNX: {brief(cause)}. Usual causes: an operator that ONNX lacks, "
            "branches that depend on the images' values, a batch size written into the model."
        ) from error
    written = next(entry.version for entry in proto.opset_import if entry.domain == "")
    if written != opset:
        raise ArgumentError(
            f"torch wrote this model for opset {written} and can't rewrite it for {opset}. Take opset={written}."
        )
    if not proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        raise ArgumentError(
            f"The model works for batches of {len(images)} alone once it is exported: its forward pass looks at the "
            "number of images. Use x.flatten(1), or x.shape[0] in place of len(x) and int(x.shape[0]), and don't "
            "branch on it."
        )
    return proto


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporters' messages to their own developers; errors are still raised."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _remove_traces(proto: ModelProto) -> None:
    """Remove what torch records of the exporting machine: paths, source lines, its own version."""
    from onnx import AttributeProto

    def clean(graph: Any) -> None:
        graph.doc_string = ""
        del graph.value_info[:]  # types in between, which every runtime works out again
        for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
            del part.metadata_props[:]
            part.doc_string = ""
        for attribute in (each for node in graph.node for each in node.attribute):
            if attribute.type == AttributeProto.GRAPH:
                clean(attribute.g)

    clean(proto.graph)
    for function in proto.functions:
        del function.metadata_props[:], function.value_info[:]
        function.doc_string = ""
        for node in function.node:
            del node.metadata_props[:]
            node.doc_string = ""
    del proto.metadata_props[:]


def described(
    proto: ModelProto,
    classes: Sequence[str],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    facts: Mapping[str, Any],
) -> bytes:
    """Return a file's content: what tells of this machine removed, what a reader must know added."""
    _remove_traces(proto)
    _describe(proto, classes, mean, std, facts)
    return proto.SerializeToString(deterministic=True)


def _describe(
    proto: ModelProto,
    classes: Sequence[str],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    facts: Mapping[str, Any],
) -> None:
    proto.producer_name, proto.producer_version = "kdcourse", ""
    proto.graph.name = "model"
    proto.doc_string = (
        "pixels: uint8 [batch, channels, height, width], 0 to 255, not normalised."
        if mean is not None
        else "images: float32 [batch, channels, height, width], normalised as in training."
    )
    notes = {"classes": list(classes), "mean": mean and list(mean), "std": std and list(std), **facts}
    for key, value in notes.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)


def _runner(content: bytes, name: str) -> tuple[Callable[[Tensor], Tensor], str]:
    """Return a function that runs the file on its input, and the runtime's name for the report."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    onnx.checker.check_model(content, full_check=True)
    try:
        runtime = importlib.import_module("onnxruntime")
    except ModuleNotFoundError:
        session: Any = ReferenceEvaluator(content)
        checked_with = f"reference evaluator of onnx {onnx.__version__}"
    else:
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
        checked_with = f"onnxruntime {runtime.__version__}"

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {name: images.numpy()})[0])

    return run, checked_with


def largest_difference(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference of two logits, as a share of the largest wanted one or of 1, whichever is more."""
    if found.shape != wanted.shape or not torch.isfinite(found).all():
        return math.inf
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1))


def brief(error: BaseException) -> str:
    """Return the first line of a message, shortened, with the kind of the error."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0] if lines else ''}"
    return text if len(text) <= _REPORTED else f"{text[:_REPORTED]}..."
