"""Objects are matched as the field does it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment
from skimage.measure import label, regionprops

from napari_segnet.errors import ConfigError, DataError
from napari_segnet.evaluation import evaluate
from napari_segnet.evaluation.object_matching import number_objects, overlap_objects
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


def all_ious(prediction, truth):
    """IoU of each true with each predicted object, one by one."""
    predicted = [prediction == v for v in np.unique(prediction) if v]
    true = [truth == v for v in np.unique(truth) if v]
    return np.array([[(p & t).sum() / (p | t).sum() for p in predicted] for t in true])


@settings(max_examples=100, deadline=None)
@given(images, images, st.sampled_from([0.01, 0.1, 0.25, 0.4, 0.5, 0.7, 1]))
def test_as_many_objects_match_as_can_and_then_the_best_ones(prediction, truth, threshold):
    prediction[0, 0], truth[0, 0], prediction[0, 1], truth[0, 1] = 1, 1, 2, 2
    ious = all_ious(prediction, truth)
    matches = overlap_objects(prediction, truth).match(threshold)
    np.testing.assert_allclose(matches.ious, ious[matches.true, matches.predicted])
    assert len(set(matches.true)) == len(set(matches.predicted)) == len(matches)
    good = ious >= threshold
    best = good * (1 + ious / 1000)
    pairs = linear_sum_assignment(-best)
    assert (matches.ious >= threshold).all()
    assert len(matches) == good[pairs].sum()
    assert matches.ious.sum() == pytest.approx(ious[pairs][good[pairs]].sum())


@settings(max_examples=60, deadline=None)
@given(images, images)
def test_matching_all_gives_the_largest_sum(prediction, truth):
    prediction[0, 0], truth[0, 0], prediction[0, 1], truth[0, 1] = 1, 1, 2, 2
    ious = all_ious(prediction, truth)
    matches = overlap_objects(prediction, truth).match_all()
    assert len(set(matches.true)) == len(set(matches.predicted)) == len(matches)
    assert matches.ious.sum() == pytest.approx(ious[linear_sum_assignment(-ious)].sum())


def test_two_poor_matches_come_before_a_good_one():
    truth, prediction = np.zeros((2, 1, 30), np.uint8)
    truth[0, 0:20], truth[0, 20:24] = 1, 2
    prediction[0, 0:4], prediction[0, 4:24] = 1, 2
    overlap = overlap_objects(prediction, truth)
    assert overlap.match(0.1).ious.tolist() == [4 / 20, 4 / 20]
    assert overlap.match_all().ious.tolist() == [16 / 24]


def test_just_the_threshold_is_a_match_unless_it_has_to_be_above():
    truth, prediction = np.zeros((2, 4, 10), np.uint8)
    truth[0, 0], truth[2, 0:10] = 1, 2
    prediction[0, 0], prediction[2, 0:5] = 1, 2
    overlap = overlap_objects(prediction, truth)
    assert (len(overlap.match(0.5)), len(overlap.match(0.5, strict=True))) == (2, 1)


def test_an_object_exactly_halved_is_found_once_only():
    truth, prediction = np.zeros((2, 4, 10), np.uint8)
    truth[0, 0], truth[2, 0:10] = 1, 2
    prediction[2, 0:5], prediction[2, 5:10] = 1, 2
    assert score_objects(prediction, truth, [0.5]).matches == (1,)


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


def test_curves_over_any_thresholds():
    truth, prediction = np.zeros((2, 20, 40), np.uint16)
    truth[0:10, 0:10], truth[0:10, 20:30], truth[12:20, 0:10] = 1, 2, 3
    prediction[0:10, 0:10], prediction[0:10, 22:32] = 9, 4
    scores = score_objects(prediction, truth, (0.1, 2 / 3, 0.7))
    assert scores.thresholds == (0.1, 2 / 3, 0.7)
    assert scores.matches == (2, 2, 1)
    assert scores.precisions == (1, 1, 0.5)
    assert scores.recalls == pytest.approx((2 / 3, 2 / 3, 1 / 3))
    assert scores.f1s == pytest.approx((4 / 5, 4 / 5, 2 / 5))
    assert scores.average_precisions == pytest.approx((2 / 3, 2 / 3, 1 / 4))
    assert scores.ap == pytest.approx((2 / 3 + 2 / 3 + 1 / 4) / 3)
    assert np.isnan(scores.ap50)


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
    assert np.isnan(score_objects(nothing, nothing).f1s).all()
    for sides in ((nothing, np.eye(5, dtype=int)), (np.eye(5, dtype=int), nothing)):
        scores = score_objects(*sides)
        assert {*scores.precisions, *scores.recalls, *scores.f1s} == {0}


@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 5)])
def test_an_object_of_one_pixel(shape):
    truth, prediction = np.zeros((2, *shape), np.uint8)
    truth.flat[0], truth.flat[-1], prediction.flat[0] = 1, 2, 1
    assert score_objects(prediction, truth).average_precisions == (0.5,) * 10


@pytest.mark.parametrize("offset", [0, 5_000_000, 2**31])
@pytest.mark.parametrize("shape", [(30, 40), (6, 10, 12)])
def test_objects_keep_their_numbers_sizes_and_centres(shape, offset):
    rng = np.random.default_rng(0)
    labels = label(rng.random(shape) > 0.7, connectivity=1).astype(np.int64)
    spacing = (0.5, 2.0, 3.0)[: len(shape)]
    objects = number_objects(np.where(labels, labels + offset, 0).astype(np.uint32))
    theirs = regionprops(labels)
    np.testing.assert_array_equal(objects.image, labels)
    np.testing.assert_array_equal(objects.values, [p.label + offset for p in theirs])
    np.testing.assert_array_equal(objects.sizes, [p.area for p in theirs])
    np.testing.assert_allclose(objects.centroids(), [p.centroid for p in theirs])
    np.testing.assert_allclose(objects.centroids(spacing), [p.centroid for p in regionprops(labels, spacing=spacing)])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint64", "float32", ">u2"])
def test_labels_of_any_type_are_the_same(dtype):
    truth = np.zeros((8, 8), np.uint8)
    truth[1:3, 1:3] = truth[5:7, 5:7] = 1
    assert score_objects(truth.astype(dtype), truth).matches == (2,) * 10
    assert score_objects(truth, truth.astype(dtype)).matches == (2,) * 10


def test_many_objects_share_a_table_of_overlaps_as_few_do(monkeypatch):
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 40, (2, 30, 30)).astype(np.uint16)
    few = overlap_objects(prediction, truth)
    monkeypatch.setattr("napari_segnet.evaluation.object_matching._LARGEST_TABLE", 1)
    many = overlap_objects(prediction, truth)
    for name in ("true", "predicted", "shared"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name))
    for t, p, shared in zip(few.true, few.predicted, few.shared, strict=True):
        assert ((truth == t + 1) & (prediction == p + 1)).sum() == shared


def test_what_cannot_be_matched_is_refused():
    labels = np.zeros((4, 5), int)
    with pytest.raises(DataError, match=r"shape \(5, 4\), the reference \(4, 5\)"):
        score_objects(labels.T, labels)
    with pytest.raises(DataError, match="the lowest value is -1"):
        score_objects(labels - 1, labels)
    for threshold in (0, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="no threshold of the IoU"):
            score_objects(labels, labels, [threshold])
    with pytest.raises(ConfigError, match="No threshold"):
        score_objects(labels, labels, ())
    with pytest.raises(DataError, match="doesn't fit an image with 2 axes"):
        number_objects(labels.astype(np.uint8)).centroids((1, 2, 3))


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
