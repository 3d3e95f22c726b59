"""What an export says of itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it was checked.

    Attributes
    ----------
    target : {"c", "c-fixed", "c-forecaster", "onnx", "verilog"}
    files : dict
        Path: size in bytes.
    sha256 : str
        Digest of the model, as in its file.
    bytes : int
        Of all files.
    rows : int
        Vectors in the test; of ONNX, rows that were compared.
    error : float or "bitwise"
        Largest difference of a probability, or of a value or logit in units of the largest, from float64.
    limit : float or None
        Features beyond it are refused.
    agreement : float or None
        Of a fixed-point student: share of the calibration rows with the class of the float student.
    sizes : dict
        Measured by the compiler: text_and_rodata_bytes, static_ram_bytes, stack_bytes (at most); and rodata_bytes.
    compiler : str or None
    checks : dict
        Check: what came out of it.
    """

    target: str
    files: dict[str, int]
    sha256: str
    rows: int
    error: float | str
    limit: float | None = None
    agreement: float | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    compiler: str | None = None
    checks: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"bytes": self.bytes}

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(self.files.values())

    def __str__(self) -> str:
        lines = [f"{path}: {size:,} bytes" for path, size in self.files.items()]
        error = self.error if isinstance(self.error, str) else f"{self.error:.2g}"
        lines.append(f"{self.rows} vectors; difference from the model: {error}")
        if self.agreement is not None:
            lines.append(f"same class as the float student: {self.agreement:.4f} of the calibration rows")
        if self.limit is not None:
            lines.append(f"features beyond {self.limit:.3g} are refused")
        lines += [f"{name.replace('_', ' ')}: {size:,}" for name, size in self.sizes.items()]
        if self.compiler is not None:
            lines.append(f"compiler: {self.compiler}")
        lines += [f"checked, {check}: {outcome}" for check, outcome in self.checks.items()]
        return "\n".join(lines)
