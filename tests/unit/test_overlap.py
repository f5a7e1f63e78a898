"""Scores of classes equal those of scikit-learn, and known answers."""

import html
import json
import math
from pathlib import Path

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
from napari_segnet.evaluation.measures import MEASURES, find_measure, list_measures
from napari_segnet.evaluation.scores import MEANS, Rules, count_missed, mean_scores, score
from napari_segnet.evaluation.surface import SurfaceOptions

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


def same_or_nan(ours, theirs):
    # Where a number doesn't exist scikit-learn says 0 or NaN, and a sentence with it.
    return math.isnan(ours) or ours == pytest.approx(theirs, abs=1e-12)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@settings(max_examples=100, deadline=None)
@given(labels, labels)
def test_every_further_score_is_that_of_scikit_learn(prediction, truth):
    values = sorted({*prediction.tolist(), *truth.tolist()})
    matrix = overlap.confusion_matrix(prediction, truth, values)
    assert same_or_nan(overlap.kappa(matrix), metrics.cohen_kappa_score(truth, prediction))
    assert same_or_nan(overlap.mcc(matrix), metrics.matthews_corrcoef(truth, prediction))
    assert math.isnan(overlap.mcc(matrix)) == math.isnan(overlap.kappa(matrix)) == (len(values) == 1)
    assert overlap.class_accuracy(matrix) == pytest.approx(metrics.balanced_accuracy_score(truth, prediction))
    assert overlap.frequency_weighted_iou(matrix) == pytest.approx(
        metrics.jaccard_score(truth, prediction, average="weighted")
    )
    for value, found in overlap.class_scores(matrix, values).items():
        binary = truth == value, prediction == value
        assert same_or_nan(found.kappa, metrics.cohen_kappa_score(*binary))
        assert same_or_nan(found.mcc, metrics.matthews_corrcoef(*binary))
        assert same_or_nan(found.specificity, metrics.recall_score(*binary, pos_label=False, zero_division=0))
        for beta, ours in ((2, found.f2), (0.5, found.f05), (1.7, found.f_beta(1.7))):
            assert ours == pytest.approx(metrics.fbeta_score(*binary, beta=beta, zero_division=0))
        assert found.voe == pytest.approx(1 - found.iou)
        assert same_or_nan(found.rvd, (binary[1].sum() - binary[0].sum()) / max(binary[0].sum(), 1))
        assert (found.true_positives, found.pixels) == ((binary[0] & binary[1]).sum(), 60)


@settings(max_examples=50, deadline=None)
@given(labels, labels)
def test_a_matrix_is_shared_out_as_scikit_learn_does(prediction, truth):
    values = [0, 1, 2, 7, 200]
    matrix = overlap.confusion_matrix(prediction, truth, values)
    for by, theirs in (("truth", "true"), ("prediction", "pred"), ("all", "all")):
        expected = metrics.confusion_matrix(truth, prediction, labels=values, normalize=theirs)
        np.testing.assert_allclose(np.nan_to_num(overlap.normalised(matrix, by)), expected)


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
    ("dtype", "count", "step"),
    [
        ("uint8", 3, 80), ("uint8", 15, 17), ("uint8", 16, 15), ("uint16", 15, 4000), ("uint16", 300, 200),
        ("uint32", 4, 20_000), ("uint32", 300, 9_000_000), ("uint64", 16, 10**9),
    ],
)  # fmt: skip
def test_any_number_of_classes_is_counted_in_any_type(dtype, count, step):
    values = np.arange(count) * step
    prediction, truth = np.random.default_rng(count).choice(values, (2, 5000)).astype(dtype)
    left_out = int(values[count // 2])
    kept = truth != left_out
    np.testing.assert_array_equal(
        overlap.confusion_matrix(prediction, truth, values, [left_out]),
        metrics.confusion_matrix(truth[kept], prediction[kept], labels=values),
    )


def test_without_a_class_or_a_pixel_nothing_is_counted():
    for value, dtype in ((7, "uint8"), (70_000, "uint32")):
        image = np.full(4, value, dtype)
        assert overlap.confusion_matrix(image, image, []).shape == (0, 0)
        matrix = overlap.confusion_matrix(image[:0], image[:0], [value])
        assert matrix.tolist() == [[0]]
        for measure in (overlap.kappa, overlap.mcc, overlap.class_accuracy, overlap.frequency_weighted_iou):
            assert math.isnan(measure(matrix))


def test_every_measure_of_a_known_answer():
    scores = evaluate(PREDICTION, TRUTH)
    assert scores.confusion.values == (0, 1)
    assert scores.confusion.names == {0: "background", 1: "1"}
    assert scores.confusion.counts == ((75, 5), (5, 15))
    np.testing.assert_allclose(scores.confusion.normalised(), [[75 / 80, 5 / 80], [0.25, 0.75]])
    assert scores.specificity == pytest.approx(75 / 80)
    assert scores.class_accuracy == pytest.approx((75 / 80 + 15 / 20) / 2)
    assert scores.frequency_weighted_iou == pytest.approx(0.8 * 75 / 85 + 0.2 * 15 / 25)
    # By chance 0.8 * 0.8 + 0.2 * 0.2 = 0.68 would be right.
    assert scores.kappa == pytest.approx((0.9 - 0.68) / (1 - 0.68))
    assert scores.mcc == pytest.approx(scores.kappa)
    assert (scores.voe, scores.rvd) == (pytest.approx(0.4), 0)
    assert scores.averaged == (1,)


def test_f_beta_moves_from_precision_to_recall():
    # 5 of 20 pixels found, nothing invented: recall 1/4, precision 1.
    assert overlap.f_beta(5, 20, 5, 1) == pytest.approx(0.4)
    assert overlap.f_beta(5, 20, 5, 2) == pytest.approx(5 * 0.25 / (4 + 0.25))
    assert overlap.f_beta(5, 20, 5, 0.5) == pytest.approx(1.25 * 0.25 / (0.25 + 0.25))
    assert overlap.f_beta(5, 20, 5, 1e6) == pytest.approx(0.25)
    assert overlap.f_beta(5, 20, 5, 1e-6) == pytest.approx(1)
    for beta in (0, -1, math.nan, math.inf):
        with pytest.raises(ConfigError, match="It is a number above 0"):
            overlap.f_beta(5, 20, 5, beta)


def test_the_relative_difference_has_a_sign():
    bigger, smaller = np.zeros((2, 10, 10), np.uint8)
    bigger[2:8, 2:7], smaller[2:4, 2:7] = 1, 1
    assert evaluate(bigger, TRUTH).rvd == pytest.approx(0.5)
    assert evaluate(smaller, TRUTH).rvd == pytest.approx(-0.5)


def test_three_classes_agree_as_gorodkin_counts():
    truth, prediction = np.array([0, 0, 1, 1, 2, 2, 2, 2]), np.array([0, 1, 1, 1, 2, 2, 0, 2])
    scores = evaluate(prediction, truth)
    # c = 6 of s = 8 right; t = (2, 2, 4), p = (2, 3, 3): t p = 22, t t = 24, p p = 22.
    assert scores.mcc == pytest.approx((6 * 8 - 22) / math.sqrt((64 - 24) * (64 - 22)))
    assert scores.kappa == pytest.approx((6 / 8 - 22 / 64) / (1 - 22 / 64))
    # Of class 1: TP 2, FN 0, FP 1, TN 5.
    assert scores.per_class[1].mcc == pytest.approx((2 * 5 - 0) / math.sqrt(3 * 2 * 6 * 5))


def test_a_class_in_one_image_only_scores_0_but_for_what_was_left_alone():
    nothing = np.zeros_like(TRUTH)
    missed, invented = evaluate(nothing, TRUTH), evaluate(TRUTH, nothing)
    for scores in (missed, invented):
        assert [getattr(scores, name) for name in ("dice", "iou", "precision", "recall", "f2", "f05")] == [0] * 6
        assert (scores.kappa, scores.mcc, scores.voe) == (0, 0, 1)
    assert (missed.specificity, invented.specificity) == (1, 0.8)
    # There is no share of nothing.
    assert (missed.rvd, math.isnan(invented.rvd), math.isnan(invented.per_class[1].rvd)) == (-1, True, True)


def test_a_class_that_is_everywhere_has_no_agreement_by_chance():
    everywhere = np.ones_like(TRUTH)
    found = evaluate(everywhere, everywhere, unlabelled="ignore").per_class[1]
    assert (found.dice, found.iou, found.pixel_accuracy, found.rvd) == (1, 1, 1, 0)
    assert all(math.isnan(x) for x in (found.kappa, found.mcc, found.specificity))


def test_an_object_of_one_pixel():
    truth, beside = np.zeros((2, 5, 5), np.uint8)
    truth[2, 2], beside[2, 3] = 1, 1
    assert (evaluate(truth, truth).dice, evaluate(beside, truth).dice) == (1, 0)
    assert evaluate(beside, truth).mcc == pytest.approx(-1 / 24)
    assert evaluate(beside, truth).rvd == 0


def test_matrices_of_images_add_up_to_that_of_the_set():
    rules = Rules("background", instances=False, white=False, values=(0, 1))
    first, second = score(PREDICTION, TRUTH, rules), score(TRUTH, TRUTH, rules)
    total = first.confusion + second.confusion
    assert total.counts == ((155, 5), (5, 35))
    assert overlap.class_scores(total.matrix, total.values)[1].dice == pytest.approx(35 / 40)
    other = Rules("background", instances=False, white=False, values=(0, 1, 2))
    with pytest.raises(DataError, match=r"values \(0, 1\) and \(0, 1, 2\) can't be added"):
        total + score(TRUTH, TRUTH, other).confusion
    with pytest.raises(ConfigError, match="'rows'"):
        total.normalised("rows")


def test_an_object_number_that_does_not_count_leaves_the_others():
    truth = np.array([[0, 1, 1, 0, 2, 2, 0, 3]])
    scores = evaluate(truth, truth, instances=True, ignore_values=[1])
    assert (scores.dice, scores.truth_objects, scores.confusion.counts) == (1, 2, ((3, 0), (0, 3)))


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
    import napari_segnet.reports.files  # noqa: F401

    assert segnet.evaluate(PREDICTION, TRUTH).dice == pytest.approx(0.75)
    assert segnet.evaluate(PREDICTION, truth=TRUTH, unlabelled="background").dice == pytest.approx(0.75)


def test_measures_are_listed_once_and_read_by_name():
    scores = evaluate(PREDICTION, TRUTH, surface=True)
    assert list(scores.of_class(1)) == [m.name for m in list_measures("overlap", "surface", of="class")]
    assert set(MEANS) <= {m.name for m in list_measures("overlap", of="image")}
    found = scores.of_image()
    assert set(found) == {m.name for m in list_measures("overlap", "surface", of="image")}
    assert (found["dice"], found["hausdorff"]) == (pytest.approx(0.75), 1)
    assert "hausdorff" not in evaluate(PREDICTION, TRUTH).of_image()
    assert find_measure("sensitivity") is find_measure("Recall") is MEASURES["recall"]
    with pytest.raises(ConfigError, match=r"no measure called 'dise'. Did you mean 'dice'"):
        find_measure("dise")


def test_perfect_labels_have_the_best_value_of_every_measure():
    scores = evaluate(TRUTH, TRUTH, surface=True)
    for name, value in {**scores.of_class(1), **scores.of_image()}.items():
        assert value == MEASURES[name].best, name
    empty = evaluate(TRUTH * 0, TRUTH * 0)
    assert all(getattr(empty, name) == MEASURES[name].best for name in MEANS)


@settings(max_examples=50, deadline=None)
@given(labels, labels)
def test_no_measure_leaves_its_range(prediction, truth):
    scores = evaluate(prediction.reshape(6, 10), truth.reshape(6, 10), unlabelled="background", surface=True)
    found = [scores.of_image(), *(scores.of_class(value) for value in scores.per_class)]
    for name, value in (item for tree in found for item in tree.items()):
        assert math.isnan(value) or MEASURES[name].low - 1e-12 <= value <= MEASURES[name].high + 1e-12, name


def test_the_page_on_metrics_says_of_every_measure_what_the_program_does():
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    lines = {line.split("`")[1]: html.unescape(line) for line in page.splitlines() if line.startswith("| `")}
    for measure in list_measures("overlap", "surface", "probability"):
        row = f"| `{measure.name}` | {measure.title} | {measure.formula} | {measure.limits} |"
        assert lines[measure.name].startswith(row)
        assert lines[measure.name].endswith(f" | {measure.source} |")


def test_the_page_on_objects_names_every_measure_of_objects_and_topology():
    page = (Path(__file__).parents[2] / "docs" / "agreement.md").read_text(encoding="utf-8")
    named = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    known = [measure.name for measure in list_measures("objects", "topology")]
    assert len(known) > 20
    assert not [name for name in known if name not in named and f"`{name}`" not in page]


def test_a_dictionary_is_json_even_where_a_surface_is_missed():
    tree = evaluate(TRUTH * 0, TRUTH, surface=True).to_dict()
    assert json.loads(json.dumps(tree, allow_nan=False)) == tree
    assert tree["surface"]["1"]["hausdorff"] is None
    assert tree["confusion"]["counts"] == [[80, 0], [20, 0]]


def test_means_over_images_say_how_many_were_missed():
    nothing = np.zeros_like(TRUTH)
    pairs = ((PREDICTION, TRUTH), (nothing, TRUTH), (nothing, nothing), (TRUTH, TRUTH))
    rules = Rules("background", instances=False, white=False, values=(0, 1))
    everything = [score(*pair, rules, SurfaceOptions()) for pair in pairs]
    means = mean_scores(everything)
    assert means["dice"] == mean_scores(everything, 1)["dice"] == pytest.approx((0.75 + 0 + 1) / 3)
    # Infinite where nothing was found.
    assert means["hausdorff"] == pytest.approx((1 + 0) / 2)
    assert count_missed(everything) == count_missed(everything, 1) == 1
    assert count_missed(everything, 0) == 0
    assert mean_scores(everything[2:3])["voe"] == 0
    assert math.isnan(mean_scores(everything[2:3], 1)["voe"])
    assert math.isnan(mean_scores([score(TRUTH, nothing, rules)])["rvd"])
