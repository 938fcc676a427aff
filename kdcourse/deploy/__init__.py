"""Make a student smaller and write it for other runtimes: pruning, int8, ONNX, ExecuTorch, a C header."""

from kdcourse.deploy.c_header import Board, Header, c_header, compiled_logits, find_compiler
from kdcourse.deploy.executorch_export import ExecutorchFile, export_executorch
from kdcourse.deploy.int8 import quantized, with_rounded_weights
from kdcourse.deploy.low_rank import low_rank
from kdcourse.deploy.onnx_export import Exported, export_onnx
from kdcourse.deploy.onnx_int8 import CALIBRATION, export_onnx_int8
from kdcourse.deploy.pruning import finish_pruning, narrowed, prune_weights, zero_share
from kdcourse.deploy.quantization_aware import finish_quantization, make_quantization_aware
from kdcourse.deploy.runtime import OnnxFile, Times, compare_times

__all__ = [
    "CALIBRATION",
    "Board",
    "ExecutorchFile",
    "Exported",
    "Header",
    "OnnxFile",
    "Times",
    "c_header",
    "compare_times",
    "compiled_logits",
    "export_executorch",
    "export_onnx",
    "export_onnx_int8",
    "find_compiler",
    "finish_pruning",
    "finish_quantization",
    "low_rank",
    "make_quantization_aware",
    "narrowed",
    "prune_weights",
    "quantized",
    "with_rounded_weights",
    "zero_share",
]
