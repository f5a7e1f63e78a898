"""A row an object: which objects there are, where, of which class, how bright, and how sure the model was."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage import measure

from napari_segnet.config import LabelClass
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.measure import ObjectOptions, count_objects, layer_features, measure_objects
from napari_segnet.measure.columns import describe
from napari_segnet.measure.meaning import find_meaning, find_probabilities

CELL = LabelClass(value=1, name="cell", colour="#ff0000")
DEBRIS = LabelClass(value=2, name="debris", colour="#00ff00")


def classes_image():
    """Return two cells, one of them at the border, and a piece of debris with a hole."""
    labels = np.zeros((20, 30), np.uint8)
    labels[2:6, 3:9] = 1
    labels[10:14, 0:5] = 1
    labels[10:17, 15:22] = 2
    labels[12:15, 17:20] = 0
    return labels


def test_pieces_of_classes_are_numbered_and_measured_in_units():
    found = measure_objects(classes_image(), classes=(CELL, DEBRIS), spacing=(2, 0.5), units="micrometer")
    table = found.table
    assert table["label"].tolist() == [1, 2, 3]
    assert table["class_name"].tolist() == ["cell", "cell", "debris"]
    assert table["pixels"].tolist() == [24, 20, 40]
    assert table["area"].tolist() == [24, 20, 40]
    assert table["centroid_y"].tolist() == pytest.approx([3.5 * 2, 11.5 * 2, 13 * 2])
    assert table["centroid_x"].tolist() == pytest.approx([5.5 / 2, 2 / 2, 18 / 2])
    assert table[["y_start", "y_stop", "x_start", "x_stop"]].iloc[0].tolist() == [2, 6, 3, 9]
    assert table["touches_border"].tolist() == [False, True, False]
    assert table["euler_number"].tolist() == [1, 1, 0]
    assert found.grid.units == "micrometer"
    for row in table.itertuples():
        assert np.count_nonzero(found.labels == row.label) == row.pixels


def test_options_choose_the_objects():
    labels = classes_image()
    chosen = {
        "minimum_pixels": (ObjectOptions(minimum_pixels=24), [24, 40]),
        "minimum_size": (ObjectOptions(minimum_size=0.25 * 30), [40]),
        "exclude_border": (ObjectOptions(exclude_border=True), [24, 40]),
        "fill_holes": (ObjectOptions(fill_holes=True), [24, 20, 49]),
    }
    for name, (options, pixels) in chosen.items():
        found = measure_objects(labels, spacing=0.5, task="semantic", options=options)
        assert found.table["pixels"].tolist() == pixels, name
        assert np.bincount(found.labels.ravel())[1:].tolist() == pixels, name


def test_holes_are_not_filled_with_other_objects():
    labels = np.zeros((12, 12), np.uint8)
    labels[1:11, 1:11] = 1
    labels[4:8, 4:8] = 0
    labels[5:7, 5:7] = 2
    found = measure_objects(labels, task="instances", options=ObjectOptions(fill_holes=True))
    assert found.table["pixels"].tolist() == [96, 4]


def test_pixels_that_share_a_corner_are_one_object_or_two():
    labels = np.eye(2, dtype=np.uint8)
    assert len(measure_objects(labels).table) == 1
    assert len(measure_objects(labels, options=ObjectOptions(connectivity="faces")).table) == 2


def test_numbered_objects_keep_their_numbers_however_large():
    labels = np.zeros((8, 8), np.uint32)
    labels[0, 0:3], labels[4, 4] = 4_000_000_000, 7
    found = measure_objects(labels, task="instances")
    assert found.table["label"].tolist() == [7, 4_000_000_000]
    assert np.array_equal(found.labels, labels)
    assert found.table["class_name"].unique().tolist() == ["object"]


def test_values_that_don_t_count_are_no_objects():
    labels = classes_image()
    assert measure_objects(labels, task="semantic", ignore_values=(2,)).table["class"].tolist() == [1, 1]
    assert measure_objects(labels, task="instances", ignore_values=(2,)).table["label"].tolist() == [1]


def test_an_object_is_of_the_class_that_most_of_its_pixels_have():
    labels = np.repeat(np.array([[1, 1, 1, 2, 2, 2, 3]], np.uint8), 2, axis=0)
    kinds = np.array([[1, 2, 2, 1, 1, 0, 0], [2, 2, 1, 0, 0, 0, 0]], np.uint8)
    found = measure_objects(labels, task="instances", class_labels=kinds, classes=(CELL, DEBRIS))
    assert found.table["class_name"].tolist() == ["debris", "cell", "none"]
    counts = count_objects(found)
    assert dict(zip(counts["class_name"], counts["objects"], strict=True)) == {"none": 1, "cell": 1, "debris": 1}
    same = measure_objects(labels, task="instances", object_classes={1: 2, 2: 1}, classes=(CELL, DEBRIS))
    assert same.table["class"].tolist() == found.table["class"].tolist()


@pytest.mark.parametrize("shape", [(40, 50), (10, 20, 30)])
def test_intensities_are_those_of_scikit_image(shape):
    rng = np.random.default_rng(0)
    labels = measure.label(rng.random(shape) > 0.6, connectivity=1).astype(np.uint16)
    image = rng.normal(100, 20, shape).astype(np.float32)
    found = measure_objects(labels, {"dapi": image, "gfp": image * 2}, task="instances").table
    peer = measure.regionprops_table(
        labels,
        image,
        properties=("label", "area", "intensity_mean", "intensity_std", "intensity_min", "intensity_max", "centroid"),
        extra_properties=(lambda mask, values: np.median(values[mask]),),
    )
    assert found["label"].tolist() == peer["label"].tolist()
    for ours, theirs in (("mean", "mean"), ("sd", "std"), ("min", "min"), ("max", "max")):
        assert found[f"dapi_{ours}"].to_numpy() == pytest.approx(peer[f"intensity_{theirs}"], rel=1e-4, abs=1e-4)
    assert found["dapi_median"].to_numpy() == pytest.approx(peer["<lambda>"], rel=1e-5)
    assert found["dapi_sum"].to_numpy() == pytest.approx(found["dapi_mean"] * found["pixels"])
    assert found["gfp_mean"].to_numpy() == pytest.approx(found["dapi_mean"] * 2, rel=1e-5)
    background = np.median(image[labels == 0])
    assert found["dapi_above_background"].to_numpy() == pytest.approx(found["dapi_mean"] - background, rel=1e-5)
    letters = "zyx"[-len(shape) :]
    for axis, letter in enumerate(letters):
        assert found[f"centroid_{letter}"].to_numpy() == pytest.approx(peer[f"centroid-{axis}"])


@pytest.mark.parametrize(
    ("classes", "channels", "expected"),
    [
        ((), [0.1, 0.6, 0.3], [0.6, 0.3]),  # 0, 1, 2
        ((CELL, DEBRIS), [0.1, 0.6, 0.3], [0.6, 0.3]),  # the background is left out of the class table
        ((DEBRIS, CELL), [0.1, 0.6, 0.3], [0.3, 0.6]),  # a model's own order
        ((CELL, DEBRIS), [0.7, 0.3], [0.7, 0.3]),  # no background
    ],
)
def test_the_mean_probability_is_that_of_the_object_s_class(classes, channels, expected):
    labels = np.array([[1, 1, 0, 2]], np.uint8)
    probabilities = np.stack([np.full(labels.shape, p, np.float32) for p in channels])
    found = measure_objects(labels, task="semantic", classes=classes, probabilities=probabilities)
    assert found.table["mean_probability"].tolist() == pytest.approx(expected)


def test_channels_start_at_the_value_that_agrees_with_the_labels():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(4), size=(30, 30)).transpose(2, 0, 1).astype(np.float32)
    for start in (0, 1):
        labels = (probabilities[:3].argmax(0) + start).astype(np.uint8)
        meaning = find_meaning([labels], task="semantic", unlabelled="ignore" if start else "background")
        assert find_probabilities(probabilities[:3], meaning, labels).order == tuple(range(start, start + 3))


def test_probabilities_of_objects_are_what_isn_t_background():
    labels = np.array([[1, 1, 0, 2]], np.uint8)
    three = np.stack([np.full(labels.shape, p) for p in (0.2, 0.5, 0.3)])
    for probabilities, expected in ((three, 0.8), (three[:2], 0.8), (three[1:2], 0.5)):
        found = measure_objects(labels, task="instances", probabilities=probabilities)
        assert found.table["mean_probability"].tolist() == pytest.approx([expected, expected])


def test_an_image_without_objects_has_a_table_with_all_columns():
    image = np.zeros((5, 6))
    empty = measure_objects(np.zeros((5, 6), np.uint8), {"a": image}, probabilities=np.zeros((2, 5, 6)))
    full = measure_objects(np.ones((5, 6), np.uint8), {"a": image}, probabilities=np.zeros((2, 5, 6)))
    assert len(empty.table) == 0
    assert list(empty.table.columns) == list(full.table.columns)
    assert not empty.labels.any()
    assert count_objects(empty)["objects"].tolist() == []
    known = measure_objects(np.zeros((5, 6), np.uint8), classes=(CELL,))
    assert count_objects(known)[["class_name", "objects"]].to_numpy().tolist() == [["cell", 0]]


def test_counts_say_how_many_and_how_large():
    found = count_objects(measure_objects(classes_image(), task="semantic", spacing=0.5, units="millimeter"))
    assert found["objects"].tolist() == [2, 1]
    assert found["density"].tolist() == pytest.approx([2 / 150, 1 / 150])
    assert found["mean_area"].tolist() == pytest.approx([5.5, 10])
    assert found["sd_area"].iloc[0] == pytest.approx(np.std([6, 5], ddof=1))
    assert found["total_area"].tolist() == pytest.approx([11, 10])


def test_every_column_is_explained():
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[2:4, 2:4, 2:4] = 1
    for one in (labels, labels[3]):
        names = measure_objects(one, {"dapi": one}, probabilities=np.stack([one, one])).table.columns
        assert all(column.meaning for column in describe(names))


def test_features_find_their_row_by_the_label():
    table = measure_objects(classes_image(), task="semantic").table
    features = layer_features(table)
    assert features["index"].tolist() == [1, 2, 3]
    assert features["area"].tolist() == table["area"].tolist()
    assert "label" not in features
    two = table.assign(image=["a", "b", "b"])
    assert layer_features(two, image="b")["index"].tolist() == [2, 3]
    twice = table.assign(label=1, image="a")
    with pytest.raises(DataError, match="label 1 is there twice"):
        layer_features(twice)
    with pytest.raises(DataError, match="no column 'label'"):
        layer_features(table.drop(columns="label"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"labels": np.zeros(5, np.uint8)}, "can't be measured"),
        ({"labels": np.zeros((4, 4)) - 1}, "lowest value is -1"),
        ({"labels": np.full((4, 4), 0.5)}, "no whole numbers"),
        ({"images": {"dapi": np.zeros((4, 5))}}, "image 'dapi' has the size 4 x 5"),
        ({"class_labels": np.zeros((3, 4), np.uint8)}, "image of classes has the size 3 x 4"),
        ({"probabilities": np.zeros((2, 4, 5))}, "probabilities have the shape"),
        ({"labels": np.zeros((2, 4, 4), np.uint8), "spacing": (1, 1)}, "not along Z"),
        ({"spacing": (0, 1)}, "can't be"),
        ({"spacing": (1, 1, 1, 1)}, "can't be"),
        ({"spacing": (2, 0.001)}, "differ more than 1000-fold"),
        ({"classes": (CELL, DEBRIS), "probabilities": np.zeros((5, 4, 4))}, "isn't clear which of 5 probabilities"),
    ],
)
def test_what_can_t_be_measured_is_refused(arguments, words):
    arguments = {"labels": np.ones((4, 4), np.uint8), **arguments}
    with pytest.raises((DataError, ConfigError), match=words):
        measure_objects(**arguments)


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3)))
def test_every_painted_pixel_belongs_to_one_object(labels):
    found = measure_objects(labels, task="semantic")
    assert found.table["pixels"].sum() == np.count_nonzero(labels)
    assert np.array_equal(found.labels > 0, labels > 0)
    assert np.array_equal(np.unique(found.labels[found.labels > 0]), np.arange(1, len(found.table) + 1))
    for row in found.table.itertuples():
        assert set(labels[found.labels == row.label]) == {row._2}  # its class


def test_a_thousand_objects_are_measured_within_seconds():
    labels = np.zeros((2048, 2048), np.uint16)
    y, x = np.mgrid[:64, :64] - 32
    for number in range(1024):
        row, column = divmod(number, 32)
        spot = (y / (10 + number % 18)) ** 2 + (x / (10 + number % 21)) ** 2 < 1
        labels[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64][spot] = number + 1
    image = np.random.default_rng(0).random((2048, 2048), np.float32)
    start = time.perf_counter()
    found = measure_objects(labels, {"a": image, "b": image}, task="instances")
    assert len(found.table) == 1024
    assert time.perf_counter() - start < 15


def test_one_image_needs_no_name():
    labels = np.zeros((8, 8), np.uint8)
    labels[2:4, 2:5] = 1
    image = np.arange(64.0).reshape(8, 8)
    alone = measure_objects(labels, image).table
    named = measure_objects(labels, {"image": image}).table
    assert alone["image_mean"].tolist() == named["image_mean"].tolist() == [image[2:4, 2:5].mean()]
