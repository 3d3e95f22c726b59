"""MLPRegressor: a multilayer perceptron for values, one or several a row."""

from dataclasses import replace

import numpy as np

from fastkd.models._hyperparameters import checked_dtype, one_of, real
from fastkd.models._inputs import as_real_array, check_weights, feature_names, pair
from fastkd.models._network import HeldOut, new_optimizer
from fastkd.models._perceptron import MLP
from fastkd.models._signal import Signal, r2_score, regression_scores

LOSSES = ("squared", "quantile")


class MLPRegressor(MLP):
    r"""Multilayer perceptron regressor with squared or quantile loss.

    The loss of a row, summed over its k outputs, is 0.5 * (f - y)^2, or with ``loss="quantile"``
    max(q * (y - f), (q - 1) * (y - f)), the pinball loss, whose minimizer is the q-quantile of y given x (Koenker and
    Bassett 1978).

    `fit` standardizes the targets (one mean an output, one scale for all) and puts that back into the last layer, so
    returns of 1e-4 and prices of 6e4 train alike; losses are reported in units of y. `partial_fit` and `gradient` work
    on y as it is.

    Parameters
    ----------
    loss : {"squared", "quantile"}
    quantile : float
        In (0, 1), for the quantile loss.
    hidden, activation, optimizer, learning_rate, batch_size, epochs, l2, early_stopping, validation_fraction, \
patience, dtype, random_state, verbose, momentum, lr_schedule, n_init, tol, n_iter_no_change, workers, scale
        As for `MLPClassifier`.

    Attributes
    ----------
    n_features_in_, feature_names_in_, history_, n_iter_, best_epoch_, converged_
        As for `MLPClassifier`; "val_score" in `history_` is the coefficient of determination.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkd.models import MLPRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> model = MLPRegressor(hidden=(16,), epochs=200, learning_rate=0.01, random_state=0).fit(X, X[:, 0] ** 2)
    >>> model.score(X, X[:, 0] ** 2) > 0.99
    True
    """

    _estimator_type = "regressor"
    _single_output: bool

    def __init__(
        self,
        hidden=(32, 16),
        *,
        activation="relu",
        optimizer="adam",
        learning_rate=1e-3,
        batch_size=64,
        epochs=50,
        l2=0.0,
        loss="squared",
        quantile=0.5,
        early_stopping=False,
        validation_fraction=0.1,
        patience=5,
        dtype="float32",
        random_state=None,
        verbose=False,
        momentum=0.9,
        lr_schedule="constant",
        n_init=1,
        tol=1e-4,
        n_iter_no_change=10,
        workers=1,
        scale=None,
    ):
        self.hidden = hidden
        self.activation = activation
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.l2 = l2
        self.loss = loss
        self.quantile = quantile
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose
        self.momentum = momentum
        self.lr_schedule = lr_schedule
        self.n_init = n_init
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.workers = workers
        self.scale = scale

    def _check_loss(self) -> None:
        one_of(self, "loss", LOSSES)
        real("quantile", self.quantile, low=0.0, high=1.0, low_open=True, high_open=True)

    def initialize(self, n_features: int, n_outputs: int = 1) -> "MLPRegressor":
        """Fresh weights without data; with one output `predict` gives (n,). Returns self."""
        self._initialize((n_features,), n_outputs)
        self._single_output = n_outputs == 1
        return self

    def fit(self, X, y=None, *, sample_weight=None, eval_set=None) -> "MLPRegressor":
        """Train from fresh weights; returns self.

        Parameters
        ----------
        X : (n, n_features)
            Finite features, raw if the model scales (`scale` or a scaler of its own); in time order if
            `early_stopping` is to hold out the latest rows.
        y : (n,) or (n, k)
            Finite values.
        sample_weight : (n,), optional
            Not negative; only ratios count. Rows of weight 0 are as good as absent.
        eval_set : (X_val, y_val), optional
            Judged after every epoch; early stopping then holds out none of X.

        Raises
        ------
        ValueError, TypeError
            On NaN or infinity, shapes that do not match, hyper-parameters out of range.
        """
        self._check_loss()
        rows, signal, single = self._read(self._training_rows(X), y, sample_weight)
        held_out = None if eval_set is None else self._read_eval_set(eval_set, rows, signal)
        rows, signal, held_out = self._hold_out(rows, signal, held_out)
        rows, held_out, scaler = self._scaled_for_fit(rows, held_out)
        assert signal.values is not None
        n_outputs = signal.values.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):
            center = np.average(signal.values, axis=0, weights=signal.weights)
            spread = np.average(((signal.values - center) ** 2).mean(axis=1), weights=signal.weights)
        scale = float(np.sqrt(spread)) or 1.0
        if not np.isfinite([*center, scale]).all():
            raise ValueError(f"y reaches up to {np.abs(signal.values).max():g}, too large to average; rescale it")
        signal = replace(signal, values=(signal.values - center) / scale)
        if held_out is not None:
            values = held_out[1].values
            assert values is not None
            held_out = held_out[0], replace(held_out[1], values=(values - center) / scale)
        unit = scale if self.loss == "quantile" else scale**2
        kernel, run = self._train(rows, signal, held_out, n_outputs, unit)
        last_layer = run.parameters[-(kernel.sizes[-2] + 1) * n_outputs :]
        with np.errstate(over="ignore", invalid="ignore"):
            last_layer *= scale
            last_layer[-n_outputs:] += center
        if not np.isfinite(last_layer).all():
            raise ValueError(f"y is too large for weights of {kernel.dtype}; rescale it, or use dtype='float64'")
        run.optimizer = new_optimizer(kernel, *run.settings)  # its moments were in other units
        self._single_output = single
        self._keep_scaler(scaler, self.scale)
        self._adopt(kernel, run, feature_names(X))
        if run.error is not None:
            raise run.error
        return self

    def partial_fit(self, X, y=None, *, sample_weight=None) -> "MLPRegressor":
        """One pass over the rows, going on from the present weights and optimizer; returns self."""
        fitted = self.__sklearn_is_fitted__()
        rows, signal, single = self._read(self._training_rows(X, fitted), y, sample_weight, fitted)
        assert signal.values is not None
        if not fitted:
            self.initialize(rows.shape[1], signal.values.shape[1])
            self._single_output = single
            if (names := feature_names(X)) is not None:
                self.feature_names_in_ = names
        self._check_outputs(signal)
        if self.scaler is None:
            self.fit_scaler(rows)
        self._pass(self._used_rows(rows), signal)
        return self

    def gradient(self, X, y=None, *, sample_weight=None) -> tuple[float, np.ndarray]:
        """Loss (with the l2 term) of all rows as one batch at the present weights, and its flat gradient."""
        self._check_fitted()
        self._check_loss()
        rows, signal, _ = self._read(self._training_rows(X, fitted=True), y, sample_weight, fitted=True)
        self._check_outputs(signal)
        targets = self._targets(signal)(0)
        rows = self._used_rows(rows)
        loss, grad = self._kernel.loss_gradient(self._run.parameters, rows, targets, real("l2", self.l2, low=0.0))
        return float(loss), grad

    def predict(self, X) -> np.ndarray:
        """Values, (n,) if y was 1-D, else (n, k)."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._single_output else outputs

    def score(self, X, y, sample_weight=None) -> float:
        """Coefficient of determination 1 - SSE / SST, averaged over the outputs."""
        outputs = self._outputs(X)
        values = self._check_values(y, len(outputs))[0]
        return r2_score(values, outputs, check_weights(sample_weight, len(outputs)))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _check_values(self, y, n: int) -> tuple[np.ndarray, bool]:
        """(values (n, k) in float64, whether y was 1-D)."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        values = as_real_array(y, "y").astype(np.float64)
        if values.ndim not in (1, 2) or len(values) != n or values.size == 0:
            raise ValueError(f"y must have shape ({n},) or ({n}, k), one row for each row of X; got {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError("Input y contains NaN or infinity")
        return values.reshape(n, -1), values.ndim == 1

    def _read(self, rows: np.ndarray, y, sample_weight, fitted: bool = False) -> tuple[np.ndarray, Signal, bool]:
        values, single = self._check_values(y, len(rows))
        weights = check_weights(sample_weight, len(rows))
        dtype = np.dtype(self._kernel.dtype if fitted else checked_dtype(self.dtype))
        signal = Signal(len(rows), dtype, values=values, weights=weights)
        if weights is not None and not weights.all():
            keep = weights > 0.0
            rows, signal = np.ascontiguousarray(rows[keep]), signal.rows(keep)
        return rows, signal, single

    def _check_outputs(self, signal: Signal) -> None:
        assert signal.values is not None
        if signal.values.shape[1] != self._kernel.sizes[-1]:
            raise ValueError(f"y has {signal.values.shape[1]} outputs; the model has {self._kernel.sizes[-1]}")

    def _read_eval_set(self, eval_set, rows: np.ndarray, signal: Signal) -> HeldOut:
        X, y = pair(eval_set)
        val_rows, val_signal, _ = self._read(self._training_rows(X), y, None)
        assert signal.values is not None
        assert val_signal.values is not None
        if val_rows.shape[1] != rows.shape[1] or val_signal.values.shape[1] != signal.values.shape[1]:
            raise ValueError("eval_set must have the features and outputs of X and y")
        return val_rows, val_signal

    def _quantile(self) -> float | None:
        return float(self.quantile) if self.loss == "quantile" else None

    def _targets(self, signal: Signal):
        fixed = signal.native(quantile=self._quantile())
        return lambda epoch: fixed

    def _scores(self, outputs: np.ndarray, signal: Signal) -> tuple[float, float]:
        return regression_scores(outputs, signal, self._quantile())
