"""What all estimators with a native network share: weights, one row check, the course of a fit, model files."""

from copy import deepcopy
from functools import lru_cache, partial
from typing import Any

import numpy as np

from fastkd._check import as_rng
from fastkd._core._native import Optimizer
from fastkd._io import save
from fastkd.models._base import Estimator, LinearScaler
from fastkd.models._hyperparameters import check_training, checked_dtype
from fastkd.models._inputs import as_real_array, check_names, feature_names, scaled
from fastkd.models._signal import Signal
from fastkd.models._training import Plan, Run, best_of, one_epoch
from fastkd.models.predictor import Predictor

HeldOut = tuple[np.ndarray, Signal] | None


@lru_cache(maxsize=128)
def shared_kernel(kind: type, *shape: Any) -> Any:
    """Kernels hold no weights, so models of one shape share theirs."""
    return kind(*shape)


def new_optimizer(kernel: Any, kind: str, momentum: float) -> Optimizer:
    return Optimizer(kind, kernel.n_parameters, kernel.dtype, momentum=momentum)


class Network(Estimator):
    """Base of the estimators. The hyper-parameters are theirs; see their docstrings."""

    optimizer: str
    dtype: Any
    momentum: float
    lr_schedule: Any
    l2: float
    early_stopping: bool
    validation_fraction: float
    random_state: Any
    scale: str | None

    _kernel: Any
    _run: Run

    # -- weights ------------------------------------------------------------------------------------------------------

    def _new_kernel(self, input_shape: tuple[int, ...], n_outputs: int) -> Any:
        """The kernel that the hyper-parameters describe, for rows of that shape; they are checked first."""
        raise NotImplementedError

    def _initial_weights(self, kernel: Any, rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError

    def _check_rows(self, X: Any, dtype: np.dtype, shape: tuple[int, ...] | None, scaler: Any) -> np.ndarray:
        """X as finite, C-contiguous rows of `dtype`, each of that shape if it is given."""
        raise NotImplementedError

    def _check_loss(self) -> None:
        raise NotImplementedError

    def _start(self, kernel: Any, rng: np.random.Generator) -> Run:
        parameters = self._initial_weights(kernel, rng).astype(kernel.dtype)
        settings = self.optimizer, self.momentum
        return Run(parameters, new_optimizer(kernel, *settings), rng, settings)

    def _adopt(self, kernel: Any, run: Run, names: np.ndarray | None = None) -> None:
        """Make the outcome of a run the state of the estimator."""
        self._kernel, self._run = kernel, run
        self.n_features_in_ = kernel.input_shape[-1]
        self.history_ = run.history
        self.n_iter_ = run.n_iter
        self.best_epoch_ = run.best_epoch
        self.converged_ = run.converged
        if names is not None:
            self.feature_names_in_ = names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        self._check_fitted()
        return self._kernel.n_parameters

    @property
    def parameters(self) -> np.ndarray:
        """All weights as one 1-D array (a copy); assign to replace them.

        Layer after layer: the weights, (n_in, n_out) in C order, then the n_out biases. In front of them, for each
        LSTM layer, (n_in + units + 1, 4 units): rows for the inputs, the state and the bias, columns for the gates
        input, forget, cell, output; for each convolution (kernel_size, n_in, n_out), then the n_out biases.
        """
        self._check_fitted()
        return self._run.parameters.copy()

    @parameters.setter
    def parameters(self, value: Any) -> None:
        self._check_fitted()
        array = as_real_array(value, "parameters")
        if array.shape != (self.n_parameters,):
            raise ValueError(f"parameters must have shape ({self.n_parameters},); got {array.shape}")
        with np.errstate(over="ignore"):
            array = array.astype(self._kernel.dtype)
        if not np.isfinite(array).all():
            raise ValueError(f"parameters must be finite in {self._kernel.dtype}")
        self._run.parameters[...] = array

    def _initialize(self, input_shape: tuple[int, ...], n_outputs: int) -> None:
        kernel = self._new_kernel(input_shape, n_outputs)
        if self.scaler is not None and len(self.scaler_.mean_) != kernel.input_shape[-1]:
            raise ValueError(
                f"the model's scaler is for {len(self.scaler_.mean_)} features, not for {kernel.input_shape[-1]}; set "
                "scaler=None first"
            )
        self._adopt(kernel, self._start(kernel, as_rng(self.random_state)))

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _training_rows(self, X: Any, fitted: bool = False) -> np.ndarray:
        """X as `fit` (fitted=False), `partial_fit` and `gradient` take it: raw, in float64 if it is to be scaled."""
        dtype = self._kernel.dtype if fitted else checked_dtype(self.dtype)
        if fitted:
            check_names(feature_names(X), getattr(self, "feature_names_in_", None))
        if self.scale is not None or self.scaler is not None:
            dtype = np.float64
        return self._check_rows(X, np.dtype(dtype), self._kernel.input_shape if fitted else None, None)

    def _scaled(self, rows: np.ndarray, scaler: LinearScaler | None, fitted: bool = True) -> np.ndarray:
        """Raw rows as the network takes them."""
        dtype = np.dtype(self._kernel.dtype if fitted else checked_dtype(self.dtype))
        return rows.astype(dtype, copy=False) if scaler is None else scaled(rows, dtype, scaler)

    def _scaled_for_fit(self, rows: np.ndarray, held_out: HeldOut) -> tuple[np.ndarray, HeldOut, LinearScaler | None]:
        """Rows, rows held out and the scaler, which only the former may tell anything to."""
        scaler = self._scaler_to_fit(rows, self.scale)
        if held_out is not None:
            held_out = self._scaled(held_out[0], scaler, False), held_out[1]
        return self._scaled(rows, scaler, False), held_out, scaler

    def _used_rows(self, rows: np.ndarray) -> np.ndarray:
        """Raw rows of `partial_fit` and `gradient` as the network takes them."""
        return self._scaled(rows, self._scaler_to_use())

    def _outputs(self, X: Any) -> np.ndarray:
        """Last layer's outputs for raw features, (n, n_outputs)."""
        self._check_fitted()
        check_names(feature_names(X), getattr(self, "feature_names_in_", None))
        rows = self._check_rows(X, np.dtype(self._kernel.dtype), self._kernel.input_shape, self._scaler_to_use())
        return self._kernel.forward(self._run.parameters, rows)

    # -- training -----------------------------------------------------------------------------------------------------

    def _targets(self, signal: Signal):
        """epoch -> targets for the kernel."""
        raise NotImplementedError

    def _scores(self, outputs: np.ndarray, signal: Signal) -> tuple[float, float]:
        raise NotImplementedError

    def _comparable_epochs(self) -> bool:
        """Whether the training losses of successive epochs measure the same thing."""
        return self.lr_schedule == "constant"

    def _hold_out(self, X: np.ndarray, signal: Signal, held_out: HeldOut) -> tuple[np.ndarray, Signal, HeldOut]:
        """With early stopping and no `eval_set`, the last rows (the latest, in rows of a time series) are held out."""
        check_training(self)
        if held_out is not None or not self.early_stopping:
            return X, signal, held_out
        n_val = max(1, round(self.validation_fraction * len(X)))
        cut = len(X) - n_val
        if cut < 1:
            raise ValueError(f"early_stopping needs rows to hold out and rows to train on; got {len(X)} row(s)")
        return X[:cut], signal.rows(slice(cut)), (X[cut:], signal.rows(slice(cut, None)))

    def _train(
        self, X: np.ndarray, signal: Signal, held_out: HeldOut, n_outputs: int, loss_unit: float = 1.0
    ) -> tuple[Any, Run]:
        """The kernel and the best run; losses are reported in multiples of `loss_unit`."""
        kernel = self._new_kernel(X.shape[1:], n_outputs)
        evaluate = None if held_out is None else partial(self._evaluate, kernel, *held_out)
        plan = Plan(kernel, X, self._targets(signal), evaluate, self, self._comparable_epochs(), loss_unit)
        return kernel, best_of(plan, partial(self._start, kernel), as_rng(self.random_state))

    def _evaluate(self, kernel: Any, X: np.ndarray, signal: Signal, parameters: np.ndarray):
        return self._scores(kernel.forward(parameters, X), signal)

    def _pass(self, X: np.ndarray, signal: Signal, passes: int = 1) -> None:
        check_training(self)
        self._check_loss()
        plan = Plan(self._kernel, X, self._targets(signal), None, self, False)
        for _ in range(passes):
            loss = one_epoch(plan, self._run)
            if np.isnan(loss):
                raise ValueError(
                    "the loss is not a number; the weights are as before. Lower learning_rate or scale the features"
                )
            self.n_iter_ = self._run.n_iter

    # -- copies, files, deployment ------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if self.__sklearn_is_fitted__():
            kernel, run = state.pop("_kernel"), state.pop("_run")
            moments = (run.optimizer.m, run.optimizer.v, run.optimizer.step)
            state["_network_state"] = kernel.__reduce__()
            state["_run_state"] = (run.parameters, run.rng, run.n_iter, run.settings, moments)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        network, saved = state.pop("_network_state", None), state.pop("_run_state", None)
        self.__dict__.update(state)
        if network is None or saved is None:
            return
        parameters, rng, n_iter, settings, (m, v, step) = saved
        kind, shape = network
        self._kernel = shared_kernel(kind, *shape)
        optimizer = new_optimizer(self._kernel, *settings)
        optimizer.m[...] = m
        optimizer.v[...] = v
        optimizer.step = step
        # Copied: not even a shallow copy of the estimator may share what training updates in place.
        self.history_ = {name: list(values) for name, values in self.history_.items()}
        self._run = Run(
            np.array(parameters),  # also of a memory map, which joblib makes of large arrays
            optimizer,
            deepcopy(rng),
            settings,
            self.history_,
            n_iter,
            self.best_epoch_,
            self.converged_,
        )

    def save(self, path: Any) -> None:
        """Write a model file (safetensors with JSON metadata) that `fastkd.load` reads; see `fastkd.save`."""
        save(self, path)

    def predictor(self, *, on_nan: str = "nan"):
        """A `fastkd.deploy.Predictor` of the weights as they are now, the scaler folded in."""
        return Predictor(self, on_nan=on_nan)
