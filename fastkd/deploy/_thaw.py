"""How a predictor comes out of a pickle: from its packed arguments, without the model it was made of."""

from typing import Any

import numpy as np


def thawed(kind: Any, arguments: tuple[Any, ...], classes: np.ndarray | None) -> Any:
    predictor = kind.__new__(kind)
    predictor._thaw(arguments, classes)
    return predictor
