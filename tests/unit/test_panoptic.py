"""Panoptic quality, splits, merges, centres and the Jaccard index are what their papers say."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from napari_segnet.errors import ConfigError, DataError
from napari_segnet.evaluation.object_comparison import compare_objects, compare_objects_by_class
from napari_segnet.evaluation.object_errors import (
    aggregated_jaccard,
    aggregated_jaccard_plus,
    count_error,
    splits_and_merges,
)
from napari_segnet.evaluation.object_matching import overlap_objects
from napari_segnet.evaluation.panoptic import (
    PanopticQuality,
    mean_panoptic_quality,
    overlap_by_class,
    panoptic_quality,
    pooled,
)

NOTHING = np.zeros((6, 8), np.uint8)


@st.composite
def label_pairs(draw):
    """Draw two label images; a second number keeps them from being taken for masks."""
    sides = [draw(arrays("uint16", (6, 7), elements=st.sampled_from([0, 0, 1, 2, 3, 500]))) for _ in range(2)]
    for side in sides:
        side[0, :2] = 1, 2
    return sides


def masks_of(labels):
    return [labels == value for value in np.unique(labels) if value]


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@settings(max_examples=80, deadline=None)
@given(label_pairs())
def test_panoptic_quality_is_that_of_its_definition(sides):
    prediction, truth = sides
    predicted, true = masks_of(prediction), masks_of(truth)
    matched = [value for t in true for p in predicted if (value := iou(t, p)) > 0.5]
    tp, fp, fn = len(matched), len(predicted) - len(matched), len(true) - len(matched)
    quality = panoptic_quality(overlap_objects(prediction, truth))
    assert (quality.true_positives, quality.false_positives, quality.false_negatives) == (tp, fp, fn)
    assert quality.pq == pytest.approx(sum(matched) / (tp + fp / 2 + fn / 2))
    assert quality.pq == pytest.approx(quality.sq * quality.rq)
    assert quality.sq == pytest.approx(np.mean(matched) if matched else 0)


def jaccard_of_kumar(prediction, truth):
    """Kumar et al. 2017, algorithm 1, object by object."""
    predicted, used, shared, union = masks_of(prediction), set(), 0, 0
    for t in masks_of(truth):
        best = int(np.argmax([iou(t, p) for p in predicted]))
        if (t & predicted[best]).any():
            shared, union = shared + (t & predicted[best]).sum(), union + (t | predicted[best]).sum()
            used.add(best)
        else:
            union += t.sum()
    return shared / (union + sum(p.sum() for k, p in enumerate(predicted) if k not in used))


@settings(max_examples=120, deadline=None)
@given(label_pairs())
def test_the_aggregated_jaccard_index_is_that_of_its_algorithm(sides):
    assert aggregated_jaccard(overlap_objects(*sides)) == pytest.approx(jaccard_of_kumar(*sides))


@settings(max_examples=80, deadline=None)
@given(label_pairs())
def test_aji_plus_joins_each_object_once(sides):
    prediction, truth = sides
    predicted, true = masks_of(prediction), masks_of(truth)
    ious = np.array([[iou(t, p) for p in predicted] for t in true])
    pairs = [(t, p) for t, p in zip(*linear_sum_assignment(-ious), strict=True) if ious[t, p] > 0]
    found = overlap_objects(prediction, truth).match_all()
    assert found.ious.sum() == pytest.approx(sum(ious[pair] for pair in pairs))
    shared = sum((true[t] & predicted[p]).sum() for t, p in zip(found.true, found.predicted, strict=True))
    union = (truth > 0).sum() + (prediction > 0).sum() - shared
    assert aggregated_jaccard_plus(overlap_objects(prediction, truth)) == pytest.approx(shared / union)


def test_a_known_jaccard_index():
    truth, prediction = np.zeros((2, 10, 20), np.uint8)
    truth[0:4, 0:5], truth[0:4, 10:15] = 1, 2
    prediction[0:4, 0:4], prediction[6:8, 0:5] = 1, 2
    # 16 of 20 pixels, an object of 20 missed, one of 10 invented.
    overlap = overlap_objects(prediction, truth)
    assert aggregated_jaccard(overlap) == aggregated_jaccard_plus(overlap) == pytest.approx(16 / (20 + 20 + 10))


def test_aji_counts_a_merge_twice_and_aji_plus_once():
    truth, prediction = np.zeros((2, 4, 20), np.uint8)
    truth[0, 0:6], truth[0, 6:10], truth[3, 0:4] = 1, 2, 3
    prediction[0, 0:10], prediction[3, 0:4] = 1, 2
    overlap = overlap_objects(prediction, truth)
    assert aggregated_jaccard(overlap) == pytest.approx((6 + 4 + 4) / (10 + 10 + 4))
    assert aggregated_jaccard_plus(overlap) == pytest.approx((6 + 4) / (10 + 4 + 4))


def split_image():
    """Return a prediction and a truth: one object in three pieces, two merged into one, one found."""
    truth, prediction = np.zeros((2, 20, 40), np.uint8)
    truth[0:6, 0:12] = 7
    prediction[0:6, 0:5], prediction[0:6, 5:9], prediction[0:6, 9:12] = 1, 2, 3
    truth[10:14, 0:6], truth[10:14, 7:12] = 8, 9
    prediction[10:14, 0:12] = 4
    truth[10:14, 20:30], prediction[10:14, 20:31] = 10, 5
    return prediction, truth


def test_splits_and_merges_are_named():
    prediction, truth = split_image()
    splits, merges = splits_and_merges(overlap_objects(prediction, truth))
    assert (splits.tolist(), merges.tolist()) == ([7], [4])
    # Seen from the other side, splits are merges.
    splits, merges = splits_and_merges(overlap_objects(truth, prediction))
    assert (splits.tolist(), merges.tolist()) == ([4], [7])


@settings(max_examples=80, deadline=None)
@given(label_pairs(), st.sampled_from([0, 0.1, 0.5, 1]))
def test_splits_are_those_of_the_definition(sides, share):
    prediction, truth = sides
    splits, merges = splits_and_merges(overlap_objects(prediction, truth), share)

    def in_pieces(labels, others):
        found = []
        for value in np.unique(labels[labels > 0]):
            whole = labels == value
            pieces = [(p & whole).sum() for p in masks_of(others) if (p & whole).sum() > p.sum() / 2]
            counted = [piece for piece in pieces if piece >= share * max(pieces)]
            if len(counted) > 1 and sum(counted) >= whole.sum() / 2:
                found.append(value)
        return found

    assert splits.tolist() == in_pieces(truth, prediction)
    assert merges.tolist() == in_pieces(prediction, truth)


def test_specks_are_no_split():
    truth, prediction = np.zeros((2, 10, 12), np.uint8)
    truth[0:10, 0:10], truth[9, 11] = 1, 2
    prediction[0:8, 0:10], prediction[9, 0:3] = 1, 2
    overlap = overlap_objects(prediction, truth)
    assert splits_and_merges(overlap)[0].size == 0
    assert splits_and_merges(overlap, share=3 / 80)[0].tolist() == [1]


def test_pieces_that_cover_just_half_are_a_split():
    truth, prediction = np.zeros((2, 3, 12), np.uint8)
    truth[0, 0:10], truth[2, 0] = 1, 2
    prediction[0, 0:3], prediction[0, 5:7] = 1, 2
    assert splits_and_merges(overlap_objects(prediction, truth))[0].tolist() == [1]


def test_two_specks_in_a_missed_object_are_no_split():
    truth, prediction = np.zeros((2, 10, 12), np.uint8)
    truth[0:10, 0:10], truth[9, 11] = 1, 2
    prediction[0, 0], prediction[9, 9] = 1, 2
    assert splits_and_merges(overlap_objects(prediction, truth))[0].size == 0


def test_a_clump_is_one_merge_however_many_it_holds():
    truth = np.kron(np.arange(1, 26).reshape(5, 5), np.ones((4, 4), int))
    prediction = np.ones_like(truth)
    prediction[0, 0] = 2
    assert splits_and_merges(overlap_objects(prediction, truth))[1].tolist() == [1]


def test_centres_are_apart_in_the_units_of_the_spacing():
    truth, prediction = np.zeros((2, 30, 40), np.uint8)
    truth[0:10, 0:10], prediction[2:12, 0:10] = 1, 1  # 2 rows down
    truth[15:25, 0:10], prediction[15:25, 1:11] = 2, 2  # 1 column to the right
    truth[15:25, 20:30], prediction[15:25, 20:30] = 3, 3
    truth[0:2, 38:40], prediction[5:7, 38:40] = 4, 4  # no match
    found = compare_objects(prediction, truth, spacing=(0.5, 3.0))
    assert found.matched == 3
    assert found.centroid_error == pytest.approx((1 + 3 + 0) / 3)
    assert found.median_centroid_error == pytest.approx(1)
    assert compare_objects(prediction, truth).centroid_error == pytest.approx((2 + 1 + 0) / 3)


def test_centres_in_a_volume():
    truth, prediction = np.zeros((2, 8, 8, 8), np.uint8)
    truth[0:4, 0:4, 0:4], prediction[1:5, 0:4, 0:4] = 1, 1
    truth[6:8, 6:8, 6:8] = prediction[6:8, 6:8, 6:8] = 2
    found = compare_objects(prediction, truth, spacing=(2.5, 1, 1))
    assert found.centroid_error == pytest.approx(2.5 / 2)


@pytest.mark.parametrize(
    ("true", "predicted", "expected"),
    [(4, 3, (-1, 1, -0.25)), (2, 5, (3, 3, 1.5)), (0, 0, (0, 0, 0)), (0, 2, (2, 2, math.nan)), (2, 0, (-2, 2, -1))],
)
def test_count_errors(true, predicted, expected):
    sides = [np.append(np.arange(1, n + 1), np.zeros(10 - n, int)) for n in (predicted, true)]
    found = count_error(overlap_objects(*sides))
    assert (found.signed, found.absolute, found.relative) == pytest.approx(expected, nan_ok=True)


def test_the_page_says_what_each_number_is():
    page = (Path(__file__).parents[2] / "docs" / "agreement.md").read_text(encoding="utf-8")
    counts = {"truth_objects", "predicted_objects", "matched", "missed", "invented"}
    for name in compare_objects(*split_image()).to_dict().keys() - counts:
        assert f"`{name}`" in page, name


def test_everything_at_once():
    found = compare_objects(*split_image())
    assert (found.truth_objects, found.predicted_objects, found.matched) == (4, 5, 2)
    assert (found.missed, found.invented, found.count_error, found.relative_count_error) == (2, 3, 1, 0.25)
    # Of the merge of 24 and 20 pixels in 48 the larger has an IoU of one half.
    assert (found.object_precision, found.object_recall, found.object_f1) == pytest.approx((2 / 5, 2 / 4, 4 / 9))
    assert found.ap50 == pytest.approx(2 / 7)
    # One half is not above one half.
    assert (found.sq, found.rq) == pytest.approx((40 / 44, 2 / 9))
    assert found.pq == pytest.approx(found.sq * found.rq)
    assert (found.splits, found.merges) == (1, 1)
    assert found.curve.matches == (2, 1, 1, 1, 1, 1, 1, 1, 1, 0)
    tree = found.to_dict()
    assert tree["aji"] == pytest.approx((30 + 24 + 20 + 40) / (72 + 48 + 48 + 44 + 24 + 18))
    assert "curve" not in tree


@pytest.mark.parametrize(
    ("prediction", "truth", "share", "matched_share"),
    [
        (NOTHING, NOTHING, math.nan, math.nan),
        (NOTHING, NOTHING + 1, 0, 0),
        (NOTHING + 1, NOTHING, 0, 0),
        (NOTHING + 1, NOTHING + 1, 1, 1),
    ],
)
def test_empty_images_have_defined_measures(prediction, truth, share, matched_share):
    found = compare_objects(prediction, truth)
    for name in ("object_precision", "object_recall", "object_f1", "ap50", "ap", "pq", "sq", "rq", "aji", "aji_plus"):
        assert getattr(found, name) == pytest.approx(share, nan_ok=True), name
    assert (found.splits, found.merges) == (0, 0)
    assert found.centroid_error == pytest.approx(0 if share == 1 else math.nan, nan_ok=True)
    assert not any(isinstance(value, float) and math.isnan(value) for value in found.to_dict().values())


def test_objects_of_one_pixel_are_objects():
    labels = NOTHING.copy()
    labels[0, 0], labels[3, 3] = 1, 2
    found = compare_objects(labels, labels)
    assert (found.pq, found.aji, found.ap, found.centroid_error) == (1, 1, 1, 0)


def test_a_set_is_pooled_as_in_the_paper():
    qualities = [PanopticQuality(2, 0, 1, 1.6), PanopticQuality(0, 0, 0, 0.0), PanopticQuality(1, 2, 0, 0.9)]
    whole = pooled(qualities)
    assert whole == PanopticQuality(3, 2, 1, 2.5)
    assert whole.pq == pytest.approx(2.5 / (3 + 1 + 0.5))
    assert mean_panoptic_quality(qualities) == pytest.approx((1.6 / 2.5 + 0.9 / 2) / 2)
    assert math.isnan(pooled([]).pq)
    assert math.isnan(mean_panoptic_quality([]))


def classes_image():
    """Return objects and their classes: 1 is right, 2 was found as another class, 3 was missed."""
    truth = np.zeros((12, 20), np.uint8)
    truth[0:4, 0:4], truth[0:4, 8:12], truth[6:10, 0:4] = 1, 2, 3
    truth_classes = np.select([truth == 1, truth == 2, truth == 3], [5, 5, 9])
    prediction = np.where(truth == 3, 0, truth)
    prediction_classes = np.select([prediction == 1, prediction == 2], [5, 9])
    return prediction, truth, prediction_classes, truth_classes


def test_objects_match_objects_of_their_class_only():
    tables = overlap_by_class(*classes_image())
    qualities = {value: panoptic_quality(table) for value, table in tables.items()}
    assert qualities == {5: PanopticQuality(1, 0, 1, 1.0), 9: PanopticQuality(0, 1, 1, 0.0)}
    assert mean_panoptic_quality(qualities.values()) == pytest.approx((2 / 3 + 0) / 2)
    found = compare_objects_by_class(*classes_image())
    assert (found[5].object_recall, found[9].object_recall) == (0.5, 0)
    assert (found[5].centroid_error, found[9].truth_objects) == (0, 1)


@settings(max_examples=60, deadline=None)
@given(label_pairs(), arrays("uint8", (2, 6, 7), elements=st.integers(0, 2)))
def test_measures_of_a_class_are_those_of_its_objects_alone(sides, classes):
    found = compare_objects_by_class(*sides, *classes)
    alone = {}
    for labels, kinds in zip(sides, classes, strict=True):
        for value in np.unique(labels[labels > 0]):
            counts = np.bincount(kinds[labels == value], minlength=3)[1:]
            kind = int(counts.argmax()) + 1 if counts.any() else 0
            alone.setdefault(kind, []).append((labels is sides[1], value))
    assert set(found) == set(alone)
    for kind, members in alone.items():
        kept = [np.isin(labels, [v for true, v in members if true == t]) for t, labels in enumerate(sides)]
        table = [np.where(keep, labels, 0) for keep, labels in zip(kept, sides, strict=True)]
        if any(len(np.unique(labels[labels > 0])) == 1 for labels in table):
            continue  # a lone object would be taken for a mask
        expected = compare_objects(*table)
        assert found[kind].to_dict() == pytest.approx(expected.to_dict())


def test_an_objects_class_is_that_of_most_of_its_pixels():
    labels = np.array([[1, 1, 1, 1, 2, 2, 3, 3]])
    classes = np.array([[0, 0, 4, 7, 7, 0, 0, 0]])
    found = overlap_by_class(labels, labels, classes, classes)
    assert {value: table.truth.values.tolist() for value, table in found.items()} == {0: [3], 4: [1], 7: [2]}


def test_what_cannot_be_compared_is_refused():
    labels = NOTHING + 1
    with pytest.raises(DataError, match=r"classes have the shape \(3, 8\), the objects \(6, 8\)"):
        overlap_by_class(labels, labels, labels[:3], labels)
    with pytest.raises(ConfigError, match="no threshold of the IoU"):
        compare_objects(labels, labels, threshold=1.5)
    with pytest.raises(ConfigError, match=r"share = 1\.5"):
        splits_and_merges(overlap_objects(labels, labels), 1.5)
    for spacing in ((1, 2, 3), (0, 1), (1, math.nan)):
        with pytest.raises(DataError, match="doesn't fit an image with 2 axes"):
            compare_objects(labels, labels, spacing=spacing)
