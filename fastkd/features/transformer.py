"""The scikit-learn side of a FeatureSet: parameters by name, names of the columns out, frames in and out."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastkd.market import Candles

__all__ = ["FrameTransformer", "as_candles"]

OUTPUTS = ("default", "array", "pandas", "polars")


def as_candles(candles: Any) -> Candles:
    """Candles, or a frame that `Candles.from_frame` reads."""
    if isinstance(candles, Candles):
        return candles
    if hasattr(candles, "columns"):
        return Candles.from_frame(candles)
    found = type(candles).__name__
    raise TypeError(f"expected fastkd.market.Candles or a frame of candles; got {found} (see Candles.from_frame)")


class FrameTransformer:
    """Base of FeatureSet: `name` and `options` are its parameters."""

    name: str
    options: dict[str, Any]
    names: tuple[str, ...]
    _output = "default"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Recipe and options by name."""
        return {"name": self.name, **self.options}

    def set_params(self, **params: Any) -> Self:
        """Set recipe and options; what was fitted is forgotten. Returns self."""
        output = self._output
        changed = {**self.get_params(), **params}
        self.__dict__.clear()
        self.__init__(**changed)  # type: ignore[misc]
        return self.set_output(transform=output)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the columns that `transform` gives."""
        return np.array(self.names, object)

    def set_output(self, *, transform: str | None = None) -> Self:
        """What `transform` returns; returns self.

        "default": (X, known_at_ms). "array": X alone, as steps of a scikit-learn `Pipeline` need it. "pandas": a frame
        whose index `known_at` holds the times. "polars": a frame with `known_at_ms` as its last column.
        """
        if transform is not None:
            if transform not in OUTPUTS:
                raise ValueError(f"transform must be one of {OUTPUTS}; got {transform!r}")
            self._output = transform
        return self

    def fit_transform(self, candles: Any, y: object = None, **options: Any) -> Any:
        """`fit`, then `transform` of the same candles."""
        return self.fit(candles, **options).transform(candles, **options)  # type: ignore[attr-defined]

    def __sklearn_is_fitted__(self) -> bool:
        return True  # a recipe needs no fit; `fit` adds a scaler

    def _shown(self, X: NDArray[np.float64], known_at_ms: NDArray[np.int64]) -> Any:
        """Rows as `set_output` says."""
        if self._output == "default":
            return X, known_at_ms
        if self._output == "array":
            return X
        columns = {name: X[:, k] for k, name in enumerate(self.names)}
        if self._output == "pandas":
            import pandas

            times = pandas.to_datetime(known_at_ms, unit="ms", utc=True).rename("known_at")
            return pandas.DataFrame(columns, index=times)
        import polars

        return polars.DataFrame({**columns, "known_at_ms": known_at_ms})
