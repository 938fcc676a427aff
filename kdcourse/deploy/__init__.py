"""Taking a student to where it is used: one file that other runtimes read."""

from kdcourse.deploy.onnx_export import Exported, export_onnx

__all__ = ["Exported", "export_onnx"]
