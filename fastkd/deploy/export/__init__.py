"""A student leaves Python: C99 in float32 or integers, ONNX, Verilog; each checked before a file appears."""

from fastkd.deploy.export.c import export_c
from fastkd.deploy.export.fixed import FixedPredictor
from fastkd.deploy.export.onnx import export_onnx
from fastkd.deploy.export.report import ExportReport
from fastkd.deploy.export.student import ExportError
from fastkd.deploy.export.verilog import export_verilog

__all__ = ["ExportError", "ExportReport", "FixedPredictor", "export_c", "export_onnx", "export_verilog"]
