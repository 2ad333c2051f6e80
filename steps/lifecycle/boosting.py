"""The estimators of our own: what is saved as data, and takes what the other models take, where a library's does not.

Like `lifecycle.columns` this module travels with the models that need it, under a name that bears its digest, and
imports nothing else of ours. xgboost is imported where a model is fitted or used, and not before.
"""

from functools import cache
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import ThreadpoolController


def _dense(rows: Any) -> Any:
    return rows.toarray() if sparse.issparse(rows) else rows


@cache
def _threads() -> ThreadpoolController:
    """Look once for the libraries that have threads: that takes longer than to say something of a row."""
    return ThreadpoolController()


def _on_one_thread() -> Any:
    """Keep OpenMP to one thread: two that wait for each other on busy cores take seventy times as long."""
    return _threads().limit(limits=1, user_api="openmp")


class DenseHistGradientBoostingClassifier(HistGradientBoostingClassifier):  # type: ignore[misc]
    """scikit-learn's histogram gradient boosting, which alone among its trees takes no sparse table: this one does.

    It keeps to one thread, as trials that run side by side do, and as an answer to a single row should.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "DenseHistGradientBoostingClassifier":
        """Fit on a table, sparse or not."""
        with _on_one_thread():
            super().fit(_dense(X), y, sample_weight)
        return self

    def predict(self, X: Any) -> Any:
        """Return the class of each row."""
        with _on_one_thread():
            return super().predict(_dense(X))

    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each class, by row."""
        with _on_one_thread():
            return super().predict_proba(_dense(X))

    def decision_function(self, X: Any) -> Any:
        """Return the trees' sum, by row."""
        with _on_one_thread():
            return super().decision_function(_dense(X))


class DenseHistGradientBoostingRegressor(HistGradientBoostingRegressor):  # type: ignore[misc]
    """scikit-learn's histogram gradient boosting, which alone among its trees takes no sparse table: this one does.

    It keeps to one thread, as trials that run side by side do, and as an answer to a single row should.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "DenseHistGradientBoostingRegressor":
        """Fit on a table, sparse or not."""
        with _on_one_thread():
            super().fit(_dense(X), y, sample_weight)
        return self

    def predict(self, X: Any) -> Any:
        """Return the estimate for each row."""
        with _on_one_thread():
            return super().predict(_dense(X))


class DenseLinearDiscriminantAnalysis(LinearDiscriminantAnalysis):  # type: ignore[misc]
    """scikit-learn's linear discriminant analysis by least squares, which takes a sparse table and weighs classes.

    Parameters
    ----------
    shrinkage : float
        How far the covariance within the classes goes from the rows' own, 0, to one without correlations, 1.
    class_weight : "balanced" or None
        Whether all classes are taken for equally frequent, or for as frequent as among the rows.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **LinearDiscriminantAnalysis._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), None],
    }

    def __init__(self, shrinkage: float = 0.0, class_weight: str | None = None) -> None:
        super().__init__(solver="lsqr", shrinkage=shrinkage)
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any) -> "DenseLinearDiscriminantAnalysis":
        """Fit on a table, sparse or not."""
        classes = len(np.unique(y))
        self.priors = np.full(classes, 1 / classes) if self.class_weight == "balanced" else None
        super().fit(_dense(X), y)
        # No prediction needs it, and of a thousand columns it has a million cells.
        del self.covariance_
        return self

    def decision_function(self, X: Any) -> Any:
        """Return the logarithm of each class's odds, by row; of two classes the second's."""
        return super().decision_function(_dense(X))

    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each class, by row."""
        return super().predict_proba(_dense(X))

    def predict(self, X: Any) -> Any:
        """Return the class of each row."""
        return super().predict(_dense(X))


class _XGBoost(BaseEstimator):  # type: ignore[misc]
    """What both tasks share.

    The number of trees is found on a part of the rows that are fitted on, drawn by the seed, after whose best round no
    better one came for `early_stopping_rounds`; then all rows are fitted on with so many trees. No row of another fold
    is ever seen. The trees are kept in xgboost's own binary form, as bytes: data, not objects.

    Parameters
    ----------
    n_estimators : int
        Trees at most.
    learning_rate, max_depth, min_child_weight, reg_alpha, reg_lambda, subsample, colsample_bytree
        As in xgboost.
    early_stopping_rounds : int
        Rounds without gain after which no further tree is tried; 0 fits all trees at once.
    validation_fraction : float
        Share of the rows on which the number of trees is found.
    random_state : int
        Of the validation rows and of xgboost's own draws.

    Attributes
    ----------
    trees_ : int
        Number of rounds of the fitted model.
    booster_ : bytes
        The fitted model.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_depth": [Interval(Integral, 1, 64, closed="both")],
        "min_child_weight": [Interval(Real, 0, None, closed="left")],
        "reg_alpha": [Interval(Real, 0, None, closed="left")],
        "reg_lambda": [Interval(Real, 0, None, closed="left")],
        "subsample": [Interval(Real, 0, 1, closed="right")],
        "colsample_bytree": [Interval(Real, 0, 1, closed="right")],
        "early_stopping_rounds": [Interval(Integral, 0, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_estimators: int = 300,
        learning_rate: float = 0.1,
        max_depth: int = 6,
        min_child_weight: float = 1.0,
        reg_alpha: float = 0.0,
        reg_lambda: float = 1.0,
        subsample: float = 1.0,
        colsample_bytree: float = 1.0,
        early_stopping_rounds: int = 20,
        validation_fraction: float = 0.15,
        random_state: int | None = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.min_child_weight = min_child_weight
        self.reg_alpha = reg_alpha
        self.reg_lambda = reg_lambda
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.early_stopping_rounds = early_stopping_rounds
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _booster(self) -> Any:
        import xgboost

        check_is_fitted(self)
        if "_loaded" not in self.__dict__:
            booster = xgboost.Booster({"nthread": 1})
            booster.load_model(bytearray(self.booster_))
            self._loaded = booster
        return self._loaded

    def __getstate__(self) -> dict[str, Any]:
        """Leave the loaded booster out: its bytes are the model."""
        state = dict(super().__getstate__())
        state.pop("_loaded", None)
        return state

    def _fit_trees(self, rows: Any, labels: Any, weights: Any, classes: int) -> None:
        """Find the number of trees, and fit so many on all rows.

        Parameters
        ----------
        rows : array or sparse matrix
            Design columns.
        labels : array
            Quantities, or places in ``classes_``.
        weights : array or None
            Of the rows.
        classes : int
            0 for a quantity.
        """
        import xgboost

        objective = {0: "reg:squarederror", 2: "binary:logistic"}.get(classes, "multi:softprob")
        parameters = {
            "objective": objective,
            "tree_method": "hist",
            "nthread": 1,
            "verbosity": 0,
            "seed": self.random_state or 0,
            "eta": self.learning_rate,
            "max_depth": self.max_depth,
            "min_child_weight": self.min_child_weight,
            "alpha": self.reg_alpha,
            "lambda": self.reg_lambda,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
        } | ({"num_class": classes} if classes > 2 else {})

        def matrix(part: Any) -> Any:
            weight = None if weights is None else weights[part]
            return xgboost.DMatrix(rows[part], label=labels[part], weight=weight, nthread=1)

        self.trees_ = self.n_estimators
        if parts := self._parts(labels, classes):
            fit, validate = map(matrix, parts)
            tried = xgboost.train(
                parameters,
                fit,
                self.n_estimators,
                evals=[(validate, "validation")],
                early_stopping_rounds=self.early_stopping_rounds,
                verbose_eval=False,
            )
            self.trees_ = int(tried.best_iteration) + 1
        fitted = xgboost.train(parameters, matrix(slice(None)), self.trees_, verbose_eval=False)
        self.booster_ = bytes(fitted.save_raw("ubj"))
        self.n_features_in_ = rows.shape[1]
        self.__dict__.pop("_loaded", None)

    def _parts(self, labels: Any, classes: int) -> list[Any] | None:
        """Part the rows into those to fit on and those to stop by; None where there are too few of some class."""
        if not self.early_stopping_rounds:
            return None
        held = int(np.ceil(self.validation_fraction * len(labels)))
        fewest = np.bincount(labels, minlength=classes).min() if classes else len(labels)
        if fewest < 2 or held < max(classes, 1) or len(labels) - held < max(classes, 2):
            return None
        split: list[Any] = train_test_split(
            np.arange(len(labels)),
            test_size=held,
            random_state=self.random_state,
            stratify=labels if classes else None,
        )
        return split

    def _said(self, rows: Any) -> npt.NDArray[np.float64]:
        import xgboost

        return np.asarray(self._booster().predict(xgboost.DMatrix(rows, nthread=1)), dtype=np.float64)


class XGBoostClassifier(ClassifierMixin, _XGBoost):  # type: ignore[misc]
    """xgboost for classes, which it names by the target's own labels.

    Parameters
    ----------
    class_weight : 'balanced' or None
        Balanced counts each class as if it were as frequent as the others.
    n_estimators, learning_rate, max_depth, min_child_weight, reg_alpha, reg_lambda, subsample, colsample_bytree
        As in xgboost.
    early_stopping_rounds, validation_fraction, random_state
        How the number of trees is found: on a stratified part of the fitted rows.

    Attributes
    ----------
    classes_ : array, shape (k,)
        The labels, sorted.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_XGBoost._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        n_estimators: int = 300,
        learning_rate: float = 0.1,
        max_depth: int = 6,
        min_child_weight: float = 1.0,
        reg_alpha: float = 0.0,
        reg_lambda: float = 1.0,
        subsample: float = 1.0,
        colsample_bytree: float = 1.0,
        class_weight: str | None = None,
        early_stopping_rounds: int = 20,
        validation_fraction: float = 0.15,
        random_state: int | None = None,
    ) -> None:
        super().__init__(
            n_estimators,
            learning_rate,
            max_depth,
            min_child_weight,
            reg_alpha,
            reg_lambda,
            subsample,
            colsample_bytree,
            early_stopping_rounds,
            validation_fraction,
            random_state,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any) -> "XGBoostClassifier":
        """Fit on design columns, sparse or not, and labels of any kind."""
        self._validate_params()
        self.classes_, places = np.unique(np.asarray(y), return_inverse=True)
        weights = None if self.class_weight is None else compute_sample_weight(self.class_weight, places)
        # Its own objective for one class does not exist; two serve, of which one never comes.
        self._fit_trees(X, places, weights, max(len(self.classes_), 2))
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the probability of each class, shape (n, classes)."""
        said = self._said(X)
        return np.column_stack([1 - said, said]) if said.ndim == 1 else said

    def predict(self, X: Any) -> Any:
        """Return the likeliest label of each row."""
        return self.classes_[np.argmax(self.predict_proba(X), axis=1)]


class XGBoostRegressor(RegressorMixin, _XGBoost):  # type: ignore[misc]
    """xgboost for quantities.

    Parameters
    ----------
    n_estimators, learning_rate, max_depth, min_child_weight, reg_alpha, reg_lambda, subsample, colsample_bytree
        As in xgboost.
    early_stopping_rounds, validation_fraction, random_state
        How the number of trees is found: on a part of the fitted rows.
    """

    def fit(self, X: Any, y: Any) -> "XGBoostRegressor":
        """Fit on design columns, sparse or not, and quantities."""
        self._validate_params()
        self._fit_trees(X, np.asarray(y, dtype=np.float64), None, 0)
        return self

    def predict(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the estimate for each row."""
        return self._said(X)
