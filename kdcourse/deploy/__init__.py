"""Export a student to ONNX, for other runtimes."""

from kdcourse.deploy.onnx_export import Exported, export_onnx

__all__ = ["Exported", "export_onnx"]
