"""Objects are matched as the field does it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment
from skimage.measure import label

from napari_segnet.evaluation import evaluate
from napari_segnet.evaluation.objects import THRESHOLDS, score_objects


def by_assignment(prediction, truth):
    """AP by an optimal assignment of all pairs at each threshold, object by object."""
    predicted = [prediction == v for v in np.unique(prediction) if v]
    true = [truth == v for v in np.unique(truth) if v]
    if not predicted or not true:
        return [0.0 if predicted or true else np.nan] * len(THRESHOLDS)
    ious = np.array([[(p & t).sum() / (p | t).sum() for p in predicted] for t in true])
    answers = []
    for threshold in THRESHOLDS:
        good = ious >= threshold
        pairs = linear_sum_assignment(-good.astype(float))
        tp = good[pairs].sum()
        answers.append(tp / (len(true) + len(predicted) - tp))
    return answers


images = arrays("uint16", (6, 7), elements=st.sampled_from([0, 0, 1, 2, 3, 500]))


@settings(max_examples=150, deadline=None)
@given(images, images)
def test_average_precision_is_that_of_an_optimal_assignment(prediction, truth):
    # A single number stands for a mask, see below.
    prediction[0, 0], truth[0, 0], prediction[0, 1], truth[0, 1] = 1, 1, 2, 2
    np.testing.assert_allclose(score_objects(prediction, truth).average_precisions, by_assignment(prediction, truth))


def test_a_known_answer():
    truth = np.zeros((20, 40), np.uint16)
    truth[0:10, 0:10], truth[0:10, 20:30], truth[12:20, 0:10] = 1, 2, 3
    prediction = np.zeros_like(truth)
    prediction[0:10, 0:10] = 9  # IoU 1
    prediction[0:10, 22:32] = 4  # IoU 80 / 120
    prediction[12:20, 30:40] = 5  # invented
    scores = score_objects(prediction, truth)
    assert (scores.truth_objects, scores.predicted_objects) == (3, 3)
    assert scores.matches == (2, 2, 2, 2, 1, 1, 1, 1, 1, 1)
    assert scores.ap50 == pytest.approx(2 / 4)
    assert scores.ap == pytest.approx((4 * 2 / 4 + 6 * 1 / 5) / 10)


def test_an_object_cut_in_halves_is_found_once():
    truth = np.full((4, 10), 3, np.uint8)
    truth[0, 0] = 1
    prediction = truth.copy()
    prediction[:, 5:] = 7
    scores = score_objects(prediction, truth)
    assert scores.matches[0] == 2  # the lone pixel, and one half with an IoU of just 20 / 39
    assert scores.predicted_objects == 3


def test_numbers_do_not_matter():
    rng = np.random.default_rng(0)
    truth = label(rng.random((60, 60)) > 0.6).astype(np.uint32)
    shuffled = np.append(0, 1_000_000 + rng.permutation(truth.max())).astype(np.uint32)[truth]
    assert score_objects(shuffled, truth).ap == 1


def test_a_mask_is_split_into_its_pieces():
    truth = np.zeros((20, 20), np.uint8)
    truth[2:6, 2:6], truth[10:16, 10:16] = 1, 2
    assert score_objects((truth > 0).astype(np.uint8) * 255, truth).ap == 1
    joined = (truth > 0).astype(np.uint8)
    joined[4, 2:16] = joined[4:16, 15] = 1
    assert score_objects(joined, truth).predicted_objects == 1


def test_nothing_there():
    nothing = np.zeros((5, 5), np.uint8)
    assert np.isnan(score_objects(nothing, nothing).ap)
    assert score_objects(nothing, np.eye(5, dtype=np.uint8)).ap == 0


def test_numbered_objects_are_recognized_and_scored_as_a_class_too():
    truth = np.zeros((40, 40), np.uint16)
    for i in range(16):
        truth[10 * (i // 4) + 1 : 10 * (i // 4) + 8, 10 * (i % 4) + 1 : 10 * (i % 4) + 8] = i + 1
    prediction = np.where(truth > 3, truth + 20, 0)
    scores = evaluate(prediction, truth)
    assert scores.ap50 == scores.ap == pytest.approx(13 / 16)
    assert scores.dice == pytest.approx(2 * 13 / (13 + 16))
    assert scores.per_class[1].name == "object"
    assert scores.per_class[1].recall == pytest.approx(13 / 16)
    assert evaluate(prediction, truth, instances=False).ap is None


def test_objects_of_a_volume():
    truth = np.zeros((4, 12, 12), np.uint16)
    truth[:, 1:5, 1:5], truth[1:3, 7:11, 7:11] = 1, 2
    assert evaluate(truth[::-1], truth, instances=True).ap == 1
