"""What a search's best score is worth: intervals by paired bootstrap, and the score corrected for the choice.

Scores here are of pooled rows: all out-of-fold predictions, or all test rows, at once. A resample of rows is a row of
whole weights, so most metrics are a matrix product away: weights times what each row adds to each sum.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lifecycle.contract import Contract
from lifecycle.metrics import Metric

Floats = npt.NDArray[np.float64]
Weights = npt.NDArray[Any]
Places = npt.NDArray[np.int64]

LEVEL = 0.95
RESAMPLES = 2_000
# Of the correction: its mean settles sooner than an interval's ends, and each resample scores every trial.
CORRECTIONS = 1_000
# Rows are drawn one by one up to here; more are put into as many bags by chance, and bags are drawn.
MOST_BAGS, FEWEST_BAGS = 20_000, 1_000
# Numbers that bags may add to sums: with thousands of trials there are fewer bags.
MOST_TERMS = 40_000_000
# Weights that are held at once.
BLOCK = 4_000_000
# Rows up to which an area under the curve is counted pair by pair in every resample.
EXACT_AREAS = 5_000
RARE = 10


@dataclass(frozen=True)
class Predictions:
    """What a model said of rows that it was not fitted on.

    Attributes
    ----------
    predicted : array, shape (n,)
        Places in the contract's classes (int16), or values in the target's units (float64).
    response : array of float64 or None
        Shape (n,), larger for the positive class; shape (n, classes) for more than two classes; None for a quantity.
    """

    predicted: npt.NDArray[Any]
    response: Floats | None = None


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its interval, in the metric's units."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Compared:
    """One model beside the first one.

    Attributes
    ----------
    score : Interval
        Its own.
    difference : Interval
        The first one's score less its own: above 0 where the first is better, for a metric of which more is better.
    """

    score: Interval
    difference: Interval


@dataclass(frozen=True)
class Corrected:
    """The score of a search's winner, corrected for its having been chosen.

    Attributes
    ----------
    pooled : float
        The winner's score over all its out-of-fold predictions at once: flattering, since it was chosen by them.
    corrected : Interval
        The mean of the out-of-bag scores, and their percentiles.
    resamples, trials : int
        How many resamples, among how many trials the choice was.
    """

    pooled: float
    corrected: Interval
    resamples: int
    trials: int


def places_of(contract: Contract, labels: Any) -> npt.NDArray[np.int16]:
    """Turn labels into their places in the contract's classes.

    Raises
    ------
    KeyError
        For a label that is none of the classes.
    """
    place = {label: index for index, label in enumerate(contract.classes)}
    values = np.asarray(labels).tolist()
    return np.fromiter((place[label] for label in values), dtype=np.int16, count=len(values))


def truth_of(contract: Contract, labels: "pd.Series[Any]") -> npt.NDArray[Any]:
    """Return labels as scores are counted from them: places in the classes, or values in the target's units."""
    return places_of(contract, labels) if contract.classes else labels.to_numpy(np.float64)


def bags_of(strata: Sequence[Places], most: int, chance: np.random.Generator) -> list[list[Places]]:
    """Put the rows of each stratum into bags by chance.

    What a row adds to a sum varies from row to row as what a bag adds varies from bag to bag, but for the bag's size:
    drawing bags gives the same spread of sums as drawing rows, for as many draws as there are bags.

    Parameters
    ----------
    strata : sequence of arrays of int64
        Positions of rows.
    most : int
        Bags of a stratum; one of fewer rows has a bag for each of them.
    chance : numpy Generator
        Where the order comes from.

    Returns
    -------
    list of list of arrays of int64
        For each stratum its bags, of nearly equal size.
    """
    return [
        np.array_split(chance.permutation(rows), most) if len(rows) > most else list(rows[:, None]) for rows in strata
    ]


class Scorer:
    """Score several models' predictions of the same rows under many resamples at once.

    The figures are those of `lifecycle.metrics.score_all` on rows repeated as often as their bag was drawn. An area
    under the curve that is not counted exactly is linear in the weights (DeLong and others, 1988, Biometrics 44): of
    each row, the share of the other class that it is ranked rightly against.

    Parameters
    ----------
    contract : Contract
        Of the table.
    metric : Metric
        What to score by.
    truth : array, shape (n,)
        Places in the classes, or values.
    said : sequence of Predictions
        One for each model.
    strata : sequence of arrays of int64
        Positions of the rows that are resampled together.
    chance : numpy Generator
        Of the bags.
    exact_areas : bool
        Count areas pair by pair; bags are single rows then.
    """

    def __init__(
        self,
        contract: Contract,
        metric: Metric,
        truth: npt.NDArray[Any],
        said: Sequence[Predictions],
        strata: Sequence[Places],
        chance: np.random.Generator,
        exact_areas: bool = False,
    ) -> None:
        self.kind = metric.name.split("_")[0]
        binary = len(contract.classes) == 2
        self.places = [contract.classes.index(contract.positive)] if binary else list(range(len(contract.classes)))
        # Counts are whole, and single precision holds them exactly up to 16 million rows.
        counts = bool(contract.classes) and self.kind != "roc" and len(truth) < 2**24
        self.dtype: Any = np.float32 if counts else np.float64
        most = int(np.clip(MOST_TERMS // (2 * len(said) * max(1, len(self.places))), FEWEST_BAGS, MOST_BAGS))
        bags = bags_of(strata, len(truth) if exact_areas else most, chance)
        self.strata = [len(some) for some in bags]
        self._order = np.concatenate([bag for some in bags for bag in some])
        self._starts = np.cumsum([0, *(len(bag) for some in bags for bag in some)])[:-1]
        self._exact = exact_areas and self.kind == "roc"
        self._ranked: dict[tuple[int, int], Ranked] = {}
        self._areas_of_all: list[Floats] = []
        self._models = len(said)
        self._terms = list(self._all_terms(truth, said))

    def _all_terms(self, truth: npt.NDArray[Any], said: Sequence[Predictions]) -> Iterator[list[Floats]]:
        """Yield, for each class or once, what bags add to each sum."""
        if self.kind == "roc":
            for place in self.places:
                positive = truth == place
                ranked = [Ranked.of(one, place, positive) for one in said]
                if self._exact:
                    self._ranked |= {(model, place): one for model, one in enumerate(ranked)}
                    continue
                right = np.column_stack([one.right for one in ranked])
                mine, others = positive[:, None], ~positive[:, None]
                self._areas_of_all.append((right * mine).sum(axis=0) / max(1, mine.sum()))
                yield [self._bagged(x) for x in (right * mine, right * others, mine, others)]
            return
        guess = np.column_stack([one.predicted for one in said])
        ones = np.ones((len(truth), 1))
        if not self.places:
            wrong = guess - truth[:, None]
            errors = np.abs(wrong) if self.kind == "mae" else wrong**2
            centred = (truth - truth.mean())[:, None]
            yield [self._bagged(x) for x in (errors, ones, centred, centred**2)]
        elif self.kind == "accuracy":
            yield [self._bagged(x) for x in (guess == truth[:, None], ones)]
        else:
            for place in self.places:
                mine = (truth == place)[:, None]
                yield [self._bagged(x) for x in ((guess == place) & mine, guess == place, mine)]

    def _bagged(self, terms: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Add up what the rows of each bag add, some columns at a time: as numbers they take more room than as bits."""
        step = max(1, BLOCK // len(terms))
        parts = []
        for begun in range(0, terms.shape[1], step):
            ordered = terms[self._order, begun : begun + step].astype(self.dtype)
            single = len(self._starts) == len(terms)
            parts.append(ordered if single else np.add.reduceat(ordered, self._starts, axis=0))
        return np.concatenate(parts, axis=1)

    def drawn(self, resamples: int, chance: np.random.Generator) -> Iterator[Weights]:
        """Draw bags with replacement, each stratum by itself.

        Parameters
        ----------
        resamples : int
            How many.
        chance : numpy Generator
            Where they come from.

        Yields
        ------
        array, shape (b, bags)
            How often each bag was drawn; as many resamples as fit a block.
        """
        most = max(1, BLOCK // len(self._starts))
        for begun in range(0, resamples, most):
            block = np.empty((min(most, resamples - begun), len(self._starts)), self.dtype)
            for weights in block:
                parts = [np.bincount(chance.integers(0, size, size), minlength=size) for size in self.strata]
                weights[:] = parts[0] if len(parts) == 1 else np.concatenate(parts)
            yield block

    def everything(self) -> Weights:
        """Return the weights of the rows as they are, each once."""
        return np.ones((1, len(self._starts)), self.dtype)

    def __call__(self, weights: Weights, which: Sequence[int] | None = None) -> Floats:
        """Score models.

        Parameters
        ----------
        weights : array, shape (resamples, bags)
            How often each bag counts.
        which : sequence of int, optional
            The models to score; all of them unless given.

        Returns
        -------
        array of float64, shape (resamples, models)
            NaN where a metric is not defined on the rows that count.
        """
        columns = list(range(self._models)) if which is None else list(which)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self._exact:
                return self._areas(weights, columns)
            summed = [
                # Terms of one column are the truth's own, the same for every model.
                [np.asarray(weights @ (x[:, columns] if x.shape[1] == self._models else x), np.float64) for x in terms]
                for terms in self._terms
            ]
            return self._scores(summed, columns)

    def _scores(self, summed: list[list[Floats]], columns: list[int]) -> Floats:
        if self.kind == "roc":
            areas = [
                right / ones + wrong / others - whole[columns]
                for (right, wrong, ones, others), whole in zip(summed, self._areas_of_all, strict=True)
            ]
            return np.asarray(np.mean(areas, axis=0))
        if not self.places:
            [[errors, rows, centred, squares]] = summed
            if self.kind == "r2":
                spread = squares - centred**2 / rows
                return np.where(spread > 0, 1 - errors / spread, np.nan)
            return errors / rows if self.kind == "mae" else np.sqrt(errors / rows)
        if self.kind == "accuracy":
            [[right, rows]] = summed
            return right / rows
        total = np.zeros_like(summed[0][0])
        present = np.zeros_like(total)
        for hits, guessed, true in summed:
            over = {"f1": (guessed + true) / 2, "precision": guessed, "recall": np.broadcast_to(true, hits.shape)}[
                self.kind
            ]
            total += np.divide(hits, over, out=np.zeros_like(hits), where=over > 0)
            # A class that neither occurs nor is guessed has no place in a macro average.
            present += guessed + true > 0
        return total if len(summed) == 1 else total / present

    def _areas(self, weights: Weights, columns: Sequence[int]) -> Floats:
        found = np.zeros((len(weights), len(columns)))
        rows = np.empty_like(self._order)
        rows[self._order] = np.arange(len(rows))
        for column, model in enumerate(columns):
            for place in self.places:
                ranked = self._ranked[model, place]
                drawn = weights[:, rows[ranked.order]]
                ones = np.add.reduceat(drawn * ranked.positive, ranked.starts, axis=1, dtype=np.float64)
                others = np.add.reduceat(drawn * ~ranked.positive, ranked.starts, axis=1, dtype=np.float64)
                # Of each group of equal responses: the others below it, and half of those within it.
                below = np.cumsum(others, axis=1) - others / 2
                pairs = ones.sum(axis=1) * others.sum(axis=1)
                found[:, column] += np.where(pairs > 0, (ones * below).sum(axis=1) / pairs, np.nan)
        return found / len(self.places)


@dataclass(frozen=True)
class Ranked:
    """Rows by what a model said of one class.

    Attributes
    ----------
    order : array of int64, shape (n,)
        Positions, the lowest response first.
    starts : array of int64
        Where each group of equal responses begins.
    positive : array of bool, shape (n,)
        Which of the rows in order are of the class.
    right : array of float64, shape (n,)
        Of each row as it stands, the share of the other side's rows that it is ranked rightly against; a tie is half.
    """

    order: Places
    starts: Places
    positive: npt.NDArray[np.bool_]
    right: Floats

    @classmethod
    def of(cls, said: Predictions, place: int, positive: npt.NDArray[np.bool_]) -> "Ranked":
        """Rank what a model said of the class at a place.

        Raises
        ------
        ValueError
            Where there are no responses to rank by.
        """
        if said.response is None:
            raise ValueError("an area under the curve needs responses")
        values = said.response if said.response.ndim == 1 else said.response[:, place]
        order = np.argsort(values, kind="stable")
        starts = np.flatnonzero(np.diff(values[order], prepend=np.nan) != 0)
        mine = positive[order]
        sizes = np.diff([*starts, len(order)])
        shares = []
        for side in (mine, ~mine):
            within = np.add.reduceat(side.astype(np.float64), starts)
            shares.append((np.cumsum(within) - within / 2) / max(1, side.sum()))
        # Of a row of the class the others below it, of another row those of the class above it.
        right = np.empty(len(order))
        right[order] = np.where(mine, np.repeat(shares[1], sizes), 1 - np.repeat(shares[0], sizes))
        return cls(order, starts, mine, right)


def _percentiles(values: Floats) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _strata(contract: Contract, truth: npt.NDArray[Any]) -> list[Places]:
    """Return the rows as they are resampled: all together, or each class apart where one of them is rare."""
    if contract.classes:
        classes = [np.flatnonzero(truth == place) for place in range(len(contract.classes))]
        present = [rows for rows in classes if len(rows)]
        if min(len(rows) for rows in present) < RARE:
            return present
    return [np.arange(len(truth))]


def compared(
    contract: Contract,
    metric: Metric,
    truth: npt.NDArray[Any],
    said: Sequence[Predictions],
    seed: int,
    resamples: int = RESAMPLES,
) -> list[Compared]:
    """Compare models on the same rows by a paired bootstrap.

    Every resample of the rows scores all models, so what makes some rows harder than others falls out of the
    difference. The intervals are percentile intervals of 95 % (Efron and Tibshirani, 1993, An Introduction to the
    Bootstrap, chapter 13). Where a class has fewer than 10 rows, each class is resampled by itself (Davison and
    Hinkley, 1997, Bootstrap Methods and their Application, section 3.2), so that no resample is without it.

    Parameters
    ----------
    contract : Contract
        Of the table.
    metric : Metric
        What to score by.
    truth : array, shape (n,)
        Places in the classes, or values.
    said : sequence of Predictions
        One for each model; the first is compared with each.
    seed : int
        Of the resamples.
    resamples : int
        At least 1,000 for ends that stand still.

    Returns
    -------
    list of Compared
        One for each model, the first one's own among them, its difference 0.
    """
    chance = np.random.default_rng(seed)
    scorer = Scorer(contract, metric, truth, said, _strata(contract, truth), chance, len(truth) <= EXACT_AREAS)
    whole = scorer(scorer.everything())[0]
    scores = np.concatenate([scorer(weights) for weights in scorer.drawn(resamples, chance)])
    return [
        Compared(
            Interval(float(whole[i]), *_percentiles(scores[:, i])),
            Interval(float(whole[0] - whole[i]), *_percentiles(scores[:, 0] - scores[:, i])),
        )
        for i in range(len(said))
    ]


def chosen(losses: Floats, errors: Floats, keys: Places) -> Places:
    """Choose the simplest of the best by the one-standard-error rule (Breiman and others, 1984, section 3.4.3).

    Parameters
    ----------
    losses : array of float64, shape (m, trials)
        Choices to make, a row each; smaller is better. A loss that is no number is never chosen beside one that is.
    errors : array of float64, shape (trials,)
        The standard error of each trial's loss; 0 for none.
    keys : array of int64, shape (trials,)
        Smaller for simpler.

    Returns
    -------
    array of int64, shape (m,)
        Of the trials whose loss is at most the smallest plus that one's error: of the smallest key the smallest loss,
        of equals the first.
    """
    known = np.where(np.isfinite(losses), losses, np.inf)
    best = known.argmin(axis=1)
    bound = known[np.arange(len(known)), best] + errors[best]
    near = known <= bound[:, None]
    simple = np.where(near, keys, np.iinfo(np.int64).max)
    candidates = simple == simple.min(axis=1, keepdims=True)
    return np.asarray(np.where(candidates, known, np.inf).argmin(axis=1))


def corrected(
    contract: Contract,
    metric: Metric,
    truth: npt.NDArray[Any],
    said: Sequence[Predictions],
    winner: int,
    errors: Floats,
    keys: Places,
    seed: int,
    resamples: int = CORRECTIONS,
) -> Corrected:
    """Correct a winner's score for its having been chosen, by bootstrapping the choice.

    The method is BBC-CV (Tsamardinos, Greasidou and Borboudakis, 2018, Bootstrapping the out-of-sample predictions for
    efficient and accurate cross-validation, Machine Learning 107): rows are drawn with replacement, the search's own
    rule chooses a trial on the rows drawn, and the rows that were not drawn score it. No model is fitted.

    Parameters
    ----------
    contract : Contract
        Of the table.
    metric : Metric
        What the search chose by.
    truth : array, shape (n,)
        Places in the classes, or values, in the order of the predictions.
    said : sequence of Predictions
        The trials' out-of-fold predictions.
    winner : int
        Which of them was chosen.
    errors, keys : array, shape (trials,)
        As for `chosen`.
    seed : int
        Of the resamples.
    resamples : int
        How many.

    Returns
    -------
    Corrected
        The interval's ends are percentiles of the out-of-bag scores.
    """
    chance = np.random.default_rng(seed)
    scorer = Scorer(contract, metric, truth, said, [np.arange(len(truth))], chance)
    found: list[Floats] = []
    for weights in scorer.drawn(resamples, chance):
        scores = scorer(weights)
        picked = chosen(-scores if metric.greater_is_better else scores, errors, keys)
        left = (weights == 0).astype(scorer.dtype)
        outside = np.full(len(weights), np.nan)
        for trial in np.unique(picked):
            mine = picked == trial
            outside[mine] = scorer(left[mine], [int(trial)])[:, 0]
        found.append(outside)
    outside = np.concatenate(found)
    known = outside[np.isfinite(outside)]
    value = float(known.mean()) if len(known) else float("nan")
    pooled = float(scorer(scorer.everything(), [winner])[0, 0])
    return Corrected(pooled, Interval(value, *_percentiles(outside)), resamples, len(said))
