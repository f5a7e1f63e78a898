"""Scores of classes equal those of scikit-learn, and known answers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

import napari_segnet as segnet
from napari_segnet.config import LabelClass
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.evaluation import evaluate, overlap

TRUTH = np.zeros((10, 10), np.uint8)
TRUTH[2:6, 2:7] = 1
PREDICTION = np.zeros((10, 10), np.uint8)
PREDICTION[3:7, 2:7] = 1

labels = st.sampled_from(["uint8", "uint16", "uint32"]).flatmap(
    lambda dtype: arrays(dtype, 60, elements=st.sampled_from([0, 1, 2, 7, 200]))
)


@settings(max_examples=100, deadline=None)
@given(labels, labels)
def test_every_score_is_that_of_scikit_learn(prediction, truth):
    values = sorted({*prediction.tolist(), *truth.tolist()})
    matrix = overlap.confusion_matrix(prediction, truth, values)
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(truth, prediction, labels=values))
    assert overlap.pixel_accuracy(matrix) == pytest.approx(metrics.accuracy_score(truth, prediction))
    scores = overlap.class_scores(matrix, values)
    options = {"labels": values, "average": None, "zero_division": 0}
    for name, theirs in (
        ("dice", metrics.f1_score),
        ("iou", metrics.jaccard_score),
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
    ):
        np.testing.assert_allclose([getattr(s, name) for s in scores.values()], theirs(truth, prediction, **options))
    for value, found in scores.items():
        if found.truth_pixels + found.predicted_pixels:
            assert found.pixel_accuracy == pytest.approx(np.mean((truth == value) == (prediction == value)))


@given(labels, labels)
def test_ignored_pixels_are_as_if_they_were_not_there(prediction, truth):
    values = [0, 1, 2, 7, 200]
    kept = ~np.isin(truth, [0, 7])
    np.testing.assert_array_equal(
        overlap.confusion_matrix(prediction, truth, values, [7, 0]),
        overlap.confusion_matrix(prediction[kept], truth[kept], values),
    )


def test_blocks_add_up(monkeypatch):
    rng = np.random.default_rng(0)
    prediction, truth = rng.integers(0, 3, (2, 40, 50), np.uint8)
    whole = overlap.confusion_matrix(prediction, truth, [0, 1, 2])
    monkeypatch.setattr(overlap, "_BLOCK", 77)
    np.testing.assert_array_equal(overlap.confusion_matrix(prediction, truth, [0, 1, 2]), whole)


def test_a_known_answer():
    scores = evaluate(PREDICTION, TRUTH)
    # 15 pixels are common, 5 missed, 5 invented.
    assert scores.dice == pytest.approx(0.75)
    assert scores.iou == pytest.approx(15 / 25)
    assert scores.precision == scores.recall == pytest.approx(0.75)
    assert scores.pixel_accuracy == pytest.approx(0.9)
    assert scores.per_class[0].iou == pytest.approx(75 / 85)
    assert scores.mean_iou_with_background == pytest.approx((15 / 25 + 75 / 85) / 2)
    assert (scores.per_class[1].truth_pixels, scores.per_class[1].predicted_pixels) == (20, 20)
    assert (scores.unlabelled, scores.ap) == ("background", None)


@pytest.mark.parametrize(
    "convert", [np.asarray, lambda a: a > 0, lambda a: a * 255, lambda a: a.astype(float), lambda a: a.tolist()]
)
def test_masks_of_any_type_are_the_same(convert):
    assert evaluate(PREDICTION, convert(TRUTH)).dice == pytest.approx(0.75)
    assert evaluate(convert(PREDICTION), TRUTH).pixel_accuracy == pytest.approx(0.9)


def test_pixels_that_are_not_annotated_do_not_count():
    truth = np.array([[0, 0, 1, 1, 2, 2]])
    prediction = np.array([[2, 1, 1, 2, 2, 2]])
    guessed = evaluate(prediction, truth)
    assert guessed.unlabelled == "ignore"
    assert guessed.pixel_accuracy == pytest.approx(3 / 4)
    assert guessed.dice == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert set(guessed.per_class) == {1, 2}
    assert guessed.mean_iou_with_background is None
    told = evaluate(prediction, truth, unlabelled="background")
    assert told.pixel_accuracy == pytest.approx(3 / 6)
    assert told.per_class[0].recall == 0


def test_a_mask_that_is_predicted_everywhere_is_not_taken_for_strokes():
    assert evaluate(np.ones_like(TRUTH), TRUTH).dice == pytest.approx(2 * 20 / 120)


def test_void_values_do_not_count_but_predicting_them_is_a_mistake():
    truth = np.array([[0, 0, 1, 1, 11, 11]])
    prediction = np.array([[0, 0, 1, 11, 1, 0]])
    scores = evaluate(prediction, truth, ignore_values=[11])
    assert scores.pixel_accuracy == pytest.approx(3 / 4)
    assert scores.dice == pytest.approx(2 / 3)


def test_classes_in_neither_image_are_left_out_of_means():
    classes = [LabelClass(value=v, name=n, colour="#ffffff") for v, n in ((1, "cell"), (2, "debris"))]
    scores = evaluate(PREDICTION, TRUTH, classes=classes)
    assert scores.per_class[1].name == "cell"
    assert set(scores.per_class) == {0, 1}


def test_two_empty_images_agree():
    nothing = np.zeros((5, 5), np.uint8)
    scores = evaluate(nothing, nothing)
    assert (scores.dice, scores.iou, scores.pixel_accuracy) == (1, 1, 1)
    assert evaluate(nothing, nothing, instances=True).ap == 1


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(DataError, match=r"shape \(10, 10\), the reference \(5, 10\)"):
        evaluate(PREDICTION, TRUTH[:5])
    with pytest.raises(DataError, match="no whole numbers"):
        evaluate(PREDICTION * 0.4, TRUTH)
    with pytest.raises(DataError, match="no pixel is annotated"):
        evaluate(PREDICTION, TRUTH * 0, unlabelled="ignore")
    with pytest.raises(ConfigError, match="'backgrond'"):
        evaluate(PREDICTION, TRUTH, unlabelled="backgrond")


def test_everything_goes_into_a_dictionary_without_nan():
    tree = evaluate(PREDICTION, TRUTH).to_dict()
    assert tree["per_class"]["1"]["dice"] == pytest.approx(0.75)
    assert not any(isinstance(v, float) and math.isnan(v) for v in tree.values())


def test_the_function_has_the_name_of_its_package():
    import napari_segnet.evaluation.files  # noqa: F401

    assert segnet.evaluate(PREDICTION, TRUTH).dice == pytest.approx(0.75)
    assert segnet.evaluate(PREDICTION, truth=TRUTH, unlabelled="background").dice == pytest.approx(0.75)
