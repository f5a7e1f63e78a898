"""Curves, Brier score, calibration and thresholds equal those of scikit-learn, and known answers."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics
from sklearn.calibration import calibration_curve

from napari_segnet.errors import ConfigError, DataError
from napari_segnet.evaluation import calibration
from napari_segnet.evaluation.calibration import FINE_BINS, count_probabilities, fine_bin, fine_edges
from napari_segnet.evaluation.curves import (
    best_threshold,
    bin_counts,
    precision_recall_curve,
    roc_curve,
    score_probabilities,
    sort_probabilities,
)

float32 = st.floats(0, 1, width=32)
# Numbers that share a bin, that are the same, that are tiny, and any others.
close = st.integers(0, 40).map(lambda k: float(np.float32(0.3 + 1e-5 * k)))
floats = st.one_of(close, st.sampled_from([0.0, 1e-20, 0.5, 1 - 2**-24, 1.0]), float32)
pixels = st.integers(2, 60).flatmap(
    lambda n: st.tuples(arrays("float32", n, elements=floats), arrays(bool, n, elements=st.booleans()))
)


def counted(p, y):
    """Count a probability of class 5, and of class 2 what is missing to 1."""
    return count_probabilities(np.stack([1 - p, p])[:, None], np.where(y, 5, 2)[None].astype(np.uint8), [2, 5])


@settings(max_examples=150, deadline=None)
@given(pixels)
def test_exact_curves_are_those_of_scikit_learn(case):
    p, y = case
    assume(y.any() and not y.all())
    counts = sort_probabilities(p, y)
    roc, pr = roc_curve(counts), precision_recall_curve(counts)
    assert roc.area == pytest.approx(metrics.roc_auc_score(y, p))
    assert pr.area == pytest.approx(metrics.average_precision_score(y, p))
    assert roc.error == pr.error == 0
    fpr, tpr, thresholds = metrics.roc_curve(y, p, drop_intermediate=False)
    for ours, theirs in ((roc.x, fpr), (roc.y, tpr), (roc.thresholds, thresholds)):
        np.testing.assert_allclose(ours, theirs)
    precision, recall, thresholds = metrics.precision_recall_curve(y, p)
    np.testing.assert_allclose(pr.y[::-1], precision)
    np.testing.assert_allclose(pr.x[::-1], recall)
    np.testing.assert_allclose(pr.thresholds[:0:-1], thresholds)


@settings(max_examples=150, deadline=None)
@given(pixels)
def test_fine_bins_are_wrong_by_no_more_than_they_say(case):
    p, y = case
    assume(y.any() and not y.all())
    counts = bin_counts(counted(p, y), 5)
    roc, pr = roc_curve(counts), precision_recall_curve(counts)
    assert abs(roc.area - metrics.roc_auc_score(y, p)) <= roc.error + 1e-9
    assert abs(pr.area - metrics.average_precision_score(y, p)) <= pr.error + 1e-9
    if len(np.unique(fine_bin(p))) == len(np.unique(p)):
        assert roc.area == pytest.approx(metrics.roc_auc_score(y, p))


def test_fine_bins_are_exact_enough_for_a_million_pixels():
    rng = np.random.default_rng(0)
    y = rng.random(1_000_000) < 0.1
    # Most pixels are close to 0 or 1, as networks make them.
    p = (1 / (1 + np.exp(-rng.normal(np.where(y, 5, -6), 5)))).astype(np.float32)
    counts = bin_counts(counted(p, y), 5)
    roc, pr = roc_curve(counts), precision_recall_curve(counts)
    assert abs(roc.area - metrics.roc_auc_score(y, p)) < 1e-6 < roc.error < 1e-4
    assert abs(pr.area - metrics.average_precision_score(y, p)) <= pr.error < 1e-3
    best, exact = best_threshold(counts), best_threshold(sort_probabilities(p, y))
    assert 0 <= exact.score - best.score < 1e-4
    assert best.score == pytest.approx(metrics.f1_score(y, p >= best.threshold), abs=1e-12)
    thin = roc.thinned(200)
    assert len(thin.x) <= 201 < len(roc.x)
    assert (thin.x[0], thin.y[0], thin.x[-1], thin.y[-1]) == (0, 0, 1, 1)
    assert metrics.auc(thin.x, thin.y) == pytest.approx(roc.area, abs=1e-3)


@given(float32)
def test_a_probability_lies_in_its_bin(p):
    smallest, largest = fine_edges()
    bins = fine_bin(np.array([p], np.float32))
    assert smallest[bins[0]] <= p <= largest[bins[0]]
    # The width is below 0.1 % of what is left to 0 or 1, but for the last ones.
    assert largest[bins[0]] - smallest[bins[0]] <= max(2**-10 * min(p, 1 - p), 2**-24)


def test_bins_rise_without_gaps():
    smallest, largest = fine_edges()
    there = smallest <= largest
    assert len(smallest) == FINE_BINS
    assert (smallest[0], largest[-1], there[[0, -1]].all()) == (0, 1, True)
    following = np.nextafter(largest[there][:-1].astype(np.float32), np.float32(2))
    np.testing.assert_array_equal(following, smallest[there][1:])
    assert smallest[fine_bin(np.array([0.5], np.float32))[0]] == 0.5


@settings(max_examples=100, deadline=None)
@given(pixels)
def test_brier_and_reliability_are_those_of_scikit_learn(case):
    p, y = case
    counts = counted(p, y)
    assert counts.brier(5) == pytest.approx(metrics.brier_score_loss(y, p, labels=[False, True]), abs=1e-7)
    assert counts.brier() == pytest.approx(2 * counts.brier(5), abs=1e-6)
    table = counts.reliability(5)
    there = table.pixels > 0
    accuracy, confidence = calibration_curve(y, p.astype(float), n_bins=15) if 0 < y.sum() < len(y) else (None, None)
    if accuracy is not None:
        np.testing.assert_allclose(table.accuracy[there], accuracy)
        np.testing.assert_allclose(table.confidence[there], confidence, rtol=1e-6)
    assert table.pixels.sum() == len(p)
    gaps = np.abs(table.accuracy[there] - table.confidence[there])
    assert counts.ece(5) == pytest.approx((gaps * table.pixels[there]).sum() / len(p))


three = arrays("float32", (3, 4, 5), elements=st.floats(1 / 128, 1, width=32)).map(lambda a: a / a.sum(axis=0))
classes = arrays("uint8", (4, 5), elements=st.sampled_from([0, 3, 7, 255]))


@settings(max_examples=60, deadline=None)
@given(three, classes)
def test_several_classes_are_counted_pixel_by_pixel(p, truth):
    counts = count_probabilities(p, truth, [7, 0, 3], ignore_values=[255], bins=10)
    kept = truth != 255
    assert counts.pixels == kept.sum()
    assume(kept.any())
    target = np.stack([truth == value for value in (7, 0, 3)])[:, kept]
    q = p[:, kept].astype(float)
    assert counts.brier() == pytest.approx(((q - target) ** 2).sum(axis=0).mean(), abs=1e-6)
    for k, value in enumerate((7, 0, 3)):
        assert counts.brier(value) == pytest.approx(((q[k] - target[k]) ** 2).mean(), abs=1e-6)
    # Guo's error, written as in the paper.
    confidence, right = q.max(axis=0), target[q.argmax(axis=0), np.arange(q.shape[1])]
    assert counts.ece() == pytest.approx(ece_as_written(confidence, right, 10), abs=1e-6)
    by_class = [ece_as_written(q[k], target[k], 10) for k in range(3)]
    assert counts.classwise_ece() == pytest.approx(np.mean(by_class), abs=1e-6)
    assert counts.classwise_ece([0, 3]) == pytest.approx(np.mean(by_class[1:]), abs=1e-6)


def ece_as_written(confidence, right, bins):
    total = 0.0
    for m in range(bins):
        inside = (confidence > m / bins) & (confidence <= (m + 1) / bins)
        if inside.any():
            total += inside.sum() / len(right) * abs(right[inside].mean() - confidence[inside].mean())
    return total


def test_a_known_answer():
    p = np.array([[0.9, 0.8, 0.7, 0.4, 0.2]], np.float32)
    truth = np.array([[1, 1, 0, 1, 0]], np.uint8)
    counts = count_probabilities(p, truth, [0, 1], bins=2)
    bins = bin_counts(counts, 1)
    # Of the 6 pairs of a pixel of the class and another, 5 are in order.
    assert roc_curve(bins).area == pytest.approx(5 / 6)
    assert precision_recall_curve(bins).area == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert counts.brier(1) == pytest.approx((0.1**2 + 0.2**2 + 0.7**2 + 0.6**2 + 0.2**2) / 5)
    # The class that wins has the probabilities 0.9, 0.8, 0.7, 0.6 and 0.8, a mean of 0.76; three of five are right.
    assert counts.ece() == pytest.approx(0.76 - 3 / 5)
    table = counts.reliability(1)
    np.testing.assert_array_equal(table.pixels, [2, 3])
    np.testing.assert_allclose(table.confidence, [0.3, 0.8])
    np.testing.assert_allclose(table.accuracy, [0.5, 2 / 3])
    assert counts.ece(1) == pytest.approx((2 * 0.2 + 3 * (0.8 - 2 / 3)) / 5)
    # Taking 4 of 5 pixels finds all three: between 0.2 and 0.4.
    best = best_threshold(bins)
    assert (best.threshold, best.score) == (pytest.approx(0.3, abs=1e-3), pytest.approx(6 / 7))
    assert best.score_at_half == pytest.approx(4 / 6)
    assert best_threshold(bins, "iou").score == pytest.approx(3 / 4)
    # Precision weighs more: the two surest pixels are all right.
    precise = best_threshold(bins, "f_beta", beta=0.25)
    assert (precise.threshold, precise.score) == (
        pytest.approx(0.75, abs=1e-3),
        pytest.approx((1 + 1 / 16) * 2 / (2 + 3 / 16)),
    )


@settings(max_examples=50, deadline=None)
@given(pixels, st.sampled_from(["dice", "iou", "f_beta"]), st.sampled_from([0.5, 1.0, 2.0]))
def test_no_threshold_is_better_than_the_best(case, measure, beta):
    p, y = case
    assume(y.any())
    theirs = {
        "dice": metrics.f1_score,
        "iou": metrics.jaccard_score,
        "f_beta": lambda *sides: metrics.fbeta_score(*sides, beta=beta),
    }[measure]
    best = best_threshold(sort_probabilities(p, y), measure, beta)
    assert best.score == pytest.approx(max(theirs(y, p >= t) for t in np.unique(p)))
    assert theirs(y, p >= best.threshold) == pytest.approx(best.score)
    assert best.score_at_half == pytest.approx(theirs(y, p >= 0.5))
    binned = best_threshold(bin_counts(counted(p, y), 5), measure, beta)
    assert theirs(y, p >= binned.threshold) == pytest.approx(binned.score)
    assert binned.score_at_half == pytest.approx(best.score_at_half)


def test_of_equally_good_thresholds_the_one_closest_to_a_half_is_taken():
    p, y = np.array([0.01, 0.02, 0.9, 0.99], np.float32), np.array([0, 0, 1, 1], bool)
    best = best_threshold(sort_probabilities(p, y))
    assert (best.threshold, best.score) == (pytest.approx(0.46), 1)
    # Dice is 2/3 for the surest pixel, and for all four: thresholds of 0.95 or 0.3.
    p, y = np.array([0.6, 0.7, 0.9, 1.0], np.float32), np.array([1, 0, 0, 1], bool)
    assert best_threshold(sort_probabilities(p, y)).threshold == pytest.approx(0.3)


def test_images_add_up_and_slabs_do_too(monkeypatch):
    rng = np.random.default_rng(1)
    p = rng.dirichlet([0.3, 0.3, 0.3], (2, 6, 7)).astype(np.float32).transpose(3, 0, 1, 2)
    truth = rng.integers(0, 3, (2, 6, 7), np.uint16)
    whole = count_probabilities(p, truth, [0, 1, 2])
    parts = [count_probabilities(p[:, z : z + 1], truth[z : z + 1], [0, 1, 2]) for z in range(2)]
    monkeypatch.setattr(calibration, "_BLOCK", 10)
    for other in (parts[0] + parts[1], count_probabilities(p[:, 0], truth[0], [0, 1, 2]) + parts[1]):
        np.testing.assert_array_equal(other.fine, whole.fine)
        np.testing.assert_allclose(other.squares, whole.squares)
        np.testing.assert_allclose(other.coarse, whole.coarse)
        assert other.pixels == whole.pixels == 84
    with pytest.raises(DataError, match=r"\(0, 1, 2\) in 15 bins can't be added to those of \(0, 1, 3\) in 15"):
        whole + count_probabilities(p, np.zeros_like(truth), [0, 1, 3])


def test_one_probability_of_two_classes_is_that_of_the_second():
    p = np.array([[0.9, 0.2], [0.6, 0.4]], np.float32)
    truth = np.array([[1, 0], [0, 1]], np.uint8)
    one, two = (count_probabilities(x, truth, [0, 1]) for x in (p, np.stack([1 - p, p])))
    np.testing.assert_array_equal(one.fine, two.fine)
    assert (one.brier(), one.ece()) == (two.brier(), two.ece())


def test_all_scores_of_a_set():
    rng = np.random.default_rng(2)
    p = rng.dirichlet([0.5, 0.5, 0.5], (20, 20)).astype(np.float32).transpose(2, 0, 1)
    truth = rng.integers(0, 3, (20, 20), np.uint8)
    scores = score_probabilities(count_probabilities(p, truth, [0, 1, 2]), [1, 2])
    aucs = [metrics.roc_auc_score(truth.ravel() == v, p[v].ravel()) for v in range(3)]
    aps = [metrics.average_precision_score(truth.ravel() == v, p[v].ravel()) for v in range(3)]
    assert scores.roc_auc == pytest.approx(np.mean(aucs[1:]), abs=1e-3)
    assert scores.average_precision == pytest.approx(np.mean(aps[1:]), abs=1e-3)
    assert [s.roc_auc for s in scores.per_class.values()] == pytest.approx(aucs, abs=1e-3)
    assert scores.brier == pytest.approx(sum(s.brier for s in scores.per_class.values()))
    assert scores.classwise_ece == pytest.approx(np.mean([scores.per_class[v].ece for v in (1, 2)]))
    assert scores.pixels == 400
    with pytest.raises(ConfigError, match="no class called '9'"):
        score_probabilities(count_probabilities(p, truth, [0, 1, 2]), [9])


def test_without_the_class_or_anything_else_there_is_no_curve():
    p, y = np.array([0.3, 0.8], np.float32), np.array([False, False])
    missing = counted(p, y)
    for counts in (sort_probabilities(p, y), bin_counts(missing, 5)):
        assert math.isnan(roc_curve(counts).area)
        assert math.isnan(precision_recall_curve(counts).area)
        assert math.isnan(best_threshold(counts).threshold)
    everywhere = sort_probabilities(p, ~y)
    assert math.isnan(roc_curve(everywhere).area)
    assert precision_recall_curve(everywhere).area == 1
    assert best_threshold(everywhere).score == 1
    # Brier and calibration need no pixel of the class.
    assert missing.brier(5) == pytest.approx((0.3**2 + 0.8**2) / 2)
    nothing = count_probabilities(p[None], np.full((1, 2), 9, np.uint8), [2, 5], ignore_values=[9])
    assert nothing.pixels == 0
    assert all(math.isnan(x) for x in (nothing.brier(), nothing.ece(), score_probabilities(nothing).roc_auc))
    assert np.isnan(nothing.reliability().accuracy).all()


def test_what_is_no_probability_is_refused():
    p, truth = np.full((2, 3, 3), 0.5, np.float32), np.zeros((3, 3), np.uint8)
    with pytest.raises(DataError, match=r"a probability of 127\. Probabilities are from 0 to 1: divide"):
        count_probabilities((p * 254).astype(np.uint8), truth, [0, 1])
    for wrong in (-3.5, math.nan, math.inf):
        damaged = p.copy()
        damaged[1, 2, 2] = wrong
        with pytest.raises(DataError, match=f"a probability of {wrong:g}"):
            count_probabilities(damaged, truth, [0, 1])
    # What doesn't count may be anything; rounding is forgiven.
    unknown = truth.copy()
    unknown[2, 2] = 255
    assert count_probabilities(damaged, unknown, [0, 1], ignore_values=[255]).pixels == 8
    assert count_probabilities(p * np.float32(2.00001), truth, [0, 1]).brier(1) == 1
    with pytest.raises(DataError, match=r"shape \(2, 3, 3\), the reference \(2, 3\), the classes are 0, 1"):
        count_probabilities(p, truth[:2], [0, 1])
    with pytest.raises(DataError, match=r"shape \(2, 3, 3\).* classes are 0, 1, 2"):
        count_probabilities(p, truth, [0, 1, 2])
    with pytest.raises(DataError, match="has the value 7, the probabilities are of the classes 0, 1"):
        count_probabilities(p, truth + 7, [0, 1])
    for bins in (0, 10_001):
        with pytest.raises(ConfigError, match=f"bins = {bins}"):
            count_probabilities(p, truth, [0, 1], bins=bins)
    counts = sort_probabilities(p, p > 0)
    with pytest.raises(ConfigError, match=r"'accuracy'.* Valid names: dice, f_beta, iou"):
        best_threshold(counts, "accuracy")
    with pytest.raises(ConfigError, match="beta = 0"):
        best_threshold(counts, "f_beta", beta=0)
