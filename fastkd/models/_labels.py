"""Which classes there are, and which rows carry no label."""

from typing import Any

import numpy as np

from fastkd.models._inputs import UNLABELLED


def find_classes(values: np.ndarray | None, n_columns: int | None, classes: Any = None) -> np.ndarray:
    """Class labels in ascending order; `n_columns` is the teacher's number of classes, None without a teacher.

    -1 marks an unlabelled row unless it is a class. It is taken for a class if `classes` holds it; if there are other
    labels that are not integers >= 0; or if, without a teacher, the labels are exactly {-1, 1}. With a teacher of two
    classes {-1, 1} could be either, so `classes` has to say.
    """
    if classes is not None:
        found = np.unique(np.asarray(classes))
        if n_columns is not None and (len(found) != np.size(classes) or (found != np.asarray(classes)).any()):
            raise ValueError(f"classes must be in ascending order, as the teacher's columns; got {list(classes)}")
    elif values is None:
        found = np.arange(n_columns or 0)
    else:
        found = np.unique(values)
        if _minus_one_is_unlabelled(found, n_columns):
            found = found[found != UNLABELLED]
        if n_columns is not None and len(found) != n_columns:
            # The rows do not show every class: the columns number them, if the labels are such numbers.
            if found.size and (found.dtype.kind not in "iuf" or found[0] < 0 or found[-1] >= n_columns):
                raise ValueError(
                    f"the teacher has {n_columns} classes and y has {len(found)}: {found[:10].tolist()}; "
                    "pass classes= to name the columns"
                )
            found = np.arange(n_columns)
    if n_columns is not None and len(found) != n_columns:
        raise ValueError(f"the teacher has {n_columns} columns; expected one for each of the {len(found)} classes")
    if len(found) == 0:
        raise ValueError("y has no labelled row, and there is no teacher: no class to learn")
    return found


def _minus_one_is_unlabelled(found: np.ndarray, n_columns: int | None) -> bool:
    if found.dtype.kind not in "if" or UNLABELLED not in found or found[0] != UNLABELLED:
        return False
    if list(found) != [-1, 1] or (n_columns or 0) > 2:
        return True
    if n_columns is None:
        return False
    raise ValueError(
        "y holds only -1 and 1 and there is a teacher of two classes: -1 may be a class or mark unlabelled rows; "
        "pass classes=[-1, 1] or classes=[0, 1]"
    )


def encode_labels(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Column index of each label, int32, and -1 for unlabelled rows."""
    numeric = values.dtype.kind in "biuf"
    if numeric != (classes.dtype.kind in "biuf"):
        raise ValueError(f"y has labels of dtype {values.dtype}; the classes are {classes[:10].tolist()}")
    codes = np.minimum(np.searchsorted(classes, values), len(classes) - 1)
    known = classes[codes] == values
    unlabelled = values == UNLABELLED if numeric else np.zeros(len(values), bool)
    stray = ~known & ~unlabelled
    if stray.any():
        unknown = np.unique(values[stray])[:10].tolist()
        raise ValueError(f"y has labels that are not among the classes {classes[:10].tolist()}: {unknown}")
    return np.where(known, codes, UNLABELLED).astype(np.int32)
