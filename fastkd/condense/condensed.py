"""What condensation gives: a few rows that stand for many."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastkd._check import as_matrix
from fastkd._files import whole_file
from fastkd.condense.compact import pack, unpack


@dataclass(eq=False)
class Condensed:
    """A condensed data set.

    Attributes
    ----------
    X : (m, n_features)
        The rows, class by class.
    y : (m,) or (m, n_outputs)
        Labels as the caller wrote them, or values of a regression.
    history : dict
        "loss": one number an iteration; "search": learning rate -> score, if the learning rate was searched for.
    soft_labels : (m, n_classes) or None
        Learnt labels or a teacher's, rows summing to 1, columns in ascending order of the classes.
    sample_weight : (m,) or None
        Weights that restore the class shares of the data the rows were made from.
    info : dict
        Method, options, number of rows seen, seconds, whether it was interrupted or had converged.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.condense import condense
    >>> X = np.repeat([[0.0, 0.0], [4.0, 4.0]], 50, axis=0) + np.random.default_rng(0).normal(size=(100, 2))
    >>> small = condense(X, np.repeat([0, 1], 50), method="centroids", per_class=1, random_state=0)
    >>> small.X.shape, small.y.tolist(), small.n_bytes
    ((2, 2), [0, 1], 34)
    """

    X: np.ndarray
    y: np.ndarray
    history: dict[str, Any] = field(default_factory=dict)
    soft_labels: np.ndarray | None = None
    sample_weight: np.ndarray | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.X)

    @property
    def n_bytes(self) -> int:
        """Bytes of features, labels (one each up to 256 classes), soft labels and weights, in their own types."""
        labels = len(self.y) if self.y.dtype.kind != "f" and len(np.unique(self.y)) <= 256 else self.y.nbytes
        rest = (self.soft_labels, self.sample_weight)
        return int(self.X.nbytes + labels + sum(a.nbytes for a in rest if a is not None))

    def with_teacher(self, teacher: Any) -> Condensed:
        """A copy whose soft labels are the teacher's probabilities for the condensed rows.

        Parameters
        ----------
        teacher : object with predict_proba
            Fitted on features on the same scale and on the same classes.
        """
        p = as_matrix(teacher.predict_proba(self.X), "the teacher's probabilities", self.X.dtype)
        if len(p) != len(self.X):
            raise ValueError(f"the teacher gave {len(p)} rows of probabilities for {len(self.X)} rows")
        return replace(self, soft_labels=p / p.sum(axis=1, keepdims=True))

    def fit(self, model: Any) -> Any:
        """Fit `model` on the condensed rows and return it: with soft labels where there are some and it takes them."""
        weights = {} if self.sample_weight is None else {"sample_weight": self.sample_weight}
        if self.soft_labels is not None and hasattr(model, "kd_weight"):
            return model.set_params(kd_weight=1.0).fit(self.X, self.y, soft_labels=self.soft_labels, **weights)
        return model.fit(self.X, self.y, **weights)

    def to_bytes(self) -> bytes:
        """The set as few bytes: about 200 more than `n_bytes`, and the history. `from_bytes` reads them."""
        return pack(self._arrays(), self.history, self.info)

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str = "data") -> Condensed:
        """Read what `to_bytes` gave, from anybody: nothing is unpickled, and every length is checked.

        Parameters
        ----------
        data : bytes
        source : str
            What an error message calls them.
        """
        return cls._checked(*unpack(bytes(data), source), source)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to one .npz file, atomically; nothing in it is pickled."""
        about = json.dumps({"history": self.history, "info": self.info}, default=str)
        write_arrays(path, self._arrays() | {"about": np.frombuffer(about.encode(), np.uint8)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Condensed:
        """Read what `save` wrote."""
        arrays = read_arrays(path)
        if not {"X", "y", "about"} <= arrays.keys():
            raise ValueError(f"{path} holds no condensed data set: it has {sorted(arrays)}")
        try:
            about = json.loads(arrays.pop("about").tobytes())
            history, info = about["history"], about["info"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        return cls._checked(arrays, history, info, str(path))

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {"X": self.X, "y": self.y, "soft_labels": self.soft_labels, "sample_weight": self.sample_weight}
        return {name: a for name, a in arrays.items() if a is not None}

    @classmethod
    def _checked(cls, arrays: dict[str, np.ndarray], history: Any, info: Any, source: str) -> Condensed:
        if not {"X", "y"} <= arrays.keys():
            raise ValueError(f"{source} holds no condensed data set: it has {sorted(arrays)}")
        try:
            X = as_matrix(arrays["X"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{source} is damaged: {error}") from None
        if any(len(a) != len(X) for a in arrays.values()) or not np.isfinite(X).all():
            raise ValueError(f"{source} is damaged: rows and labels do not agree, or a feature is not finite")
        if arrays["y"].dtype.kind == "f" and not np.isfinite(arrays["y"]).all():
            raise ValueError(f"{source} is damaged: a value of y is not finite")
        for name, ndim in (("soft_labels", 2), ("sample_weight", 1)):
            a = arrays.get(name)
            if a is not None and (a.ndim != ndim or a.dtype.kind != "f" or not ((a >= 0) & (a < np.inf)).all()):
                raise ValueError(f"{source} is damaged: {name} must be finite numbers >= 0 in {ndim} dimension(s)")
        return cls(X, arrays["y"], history, arrays.get("soft_labels"), arrays.get("sample_weight"), info)


def write_arrays(path: str | os.PathLike[str], arrays: dict[str, np.ndarray]) -> None:
    """An .npz file that is complete or not there."""
    with whole_file(path) as part, open(part, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; pickled objects are refused."""
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{os.fspath(path)} is not an .npz file of plain arrays: {error}") from None
