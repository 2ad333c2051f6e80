"""A trial that cannot win is ended early, and one that can is not."""

import numpy as np
import pytest

from lifecycle.pruning import FEWEST, Bar, bar_of

# Losses of nine trials on three folds; the best has a mean of 1, and the most that any beat it by is 0.2.
LOSSES = [[1.0, 0.9, 1.1], *([2.0 + i / 10, 0.7 + i, 2.0] for i in range(FEWEST))]


def test_the_bar_is_the_best_trial_and_the_most_that_it_was_beaten_by_on_a_fold():
    bar = bar_of(LOSSES)
    assert bar is not None
    assert bar.losses == (1.0, 0.9, 1.1)
    assert bar.gain == pytest.approx(0.2)
    # The deviation of 1, 0.9 and 1.1 is 0.1, over the root of three folds.
    assert bar.error == pytest.approx(0.1 / np.sqrt(3))


def test_few_trials_set_no_bar():
    assert bar_of(LOSSES[: FEWEST - 1]) is None
    assert bar_of(LOSSES[:FEWEST]) is not None


def test_a_best_trial_that_none_has_beaten_leaves_no_gain():
    bar = bar_of([[1.0, 1.0], *([2.0, 2.0] for _ in range(FEWEST))])
    assert (bar.gain, bar.error) == (0.0, 0.0)
    assert bar.rules_out([1.1])
    assert not bar.rules_out([1.0])
    assert not bar.rules_out([0.9])


@pytest.mark.parametrize(
    ("losses", "out"),
    [
        # Behind by 0.9, of which two folds may make good 0.2 each, and three folds' error is 0.3.
        ([1.9], True),
        ([1.65], False),
        ([1.75], True),
        ([1.4, 1.3], True),
        ([1.2, 1.1], False),
        ([0.5, 0.5], False),
        # All folds are done, or none: there is nothing to save.
        ([9.0, 9.0, 9.0], False),
        ([], False),
    ],
)
def test_a_trial_is_ruled_out_where_no_fold_that_is_left_could_help(losses: list, out: bool):
    assert Bar((1.0, 0.9, 1.1), gain=0.2, error=0.1).rules_out(losses) is out


def test_the_loss_of_one_that_was_ruled_out_is_not_below_the_best():
    bar = Bar((1.0, 0.9, 1.1), gain=0.2, error=0.1)
    assert bar.estimate([1.9]) == pytest.approx(1.0 + 0.9)
    assert bar.estimate([0.5]) == pytest.approx(1.0)


def test_no_winner_is_pruned_where_trials_differ_by_fold_as_earlier_ones_did():
    """The rule holds exactly: whatever is left within the gains seen so far, one ruled out ends behind the error."""
    chance = np.random.default_rng(0)
    for _ in range(300):
        losses = chance.normal(1, 0.2, (20, 5))
        bar = bar_of(losses[:12])
        assert bar is not None
        for row in losses[12:]:
            done = next((fold for fold in range(1, 5) if bar.rules_out(row[:fold])), None)
            if done is None:
                continue
            best_case = np.concatenate([row[:done], np.asarray(bar.losses[done:]) - bar.gain])
            assert best_case.mean() > np.mean(bar.losses) + bar.error
