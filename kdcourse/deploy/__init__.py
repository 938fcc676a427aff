"""Write a student for other runtimes: ONNX, ONNX in int8, a C header."""

from kdcourse.deploy.c_header import Board, Header, c_header, compiled_logits, find_compiler
from kdcourse.deploy.int8 import quantized, with_rounded_weights
from kdcourse.deploy.onnx_export import Exported, export_onnx
from kdcourse.deploy.onnx_int8 import CALIBRATION, export_onnx_int8
from kdcourse.deploy.runtime import OnnxFile, Times, compare_times

__all__ = [
    "CALIBRATION",
    "Board",
    "Exported",
    "Header",
    "OnnxFile",
    "Times",
    "c_header",
    "compare_times",
    "compiled_logits",
    "export_onnx",
    "export_onnx_int8",
    "find_compiler",
    "quantized",
    "with_rounded_weights",
]
