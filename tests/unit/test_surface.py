"""Distances between surfaces equal those of MONAI, of all pairs of points, and known answers."""

import math

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from monai.metrics.utils import get_code_to_measure_table
from scipy import ndimage

from napari_segnet.config import validated
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.evaluation import evaluate, surface
from napari_segnet.evaluation.scores import Rules, score
from napari_segnet.evaluation.surface import SurfaceOptions, surface_score, surface_scores
from napari_segnet.io.images import open_labels

DISTANCES = ("hausdorff", "hd95", "asd_prediction", "asd_truth", "assd")


@st.composite
def cases(draw):
    """Two masks that are not empty, a plane or a volume, and their spacing."""
    shape = draw(st.sampled_from([(5, 6), (1, 7), (8, 3), (3, 4, 4), (2, 5, 3)]))
    masks = arrays(bool, shape)
    spacing = tuple(draw(st.sampled_from([0.25, 1.0, 1.5, 4.0])) for _ in shape)
    return draw(masks.filter(np.any)), draw(masks.filter(np.any)), spacing


def edges(mask):
    """Pixels of the mask with a neighbour outside it, found one by one."""
    padded = np.pad(mask, 1)
    found = []
    for place in np.argwhere(mask):
        steps = [sign * step for step in np.eye(mask.ndim, dtype=int) for sign in (-1, 1)]
        if not all(padded[tuple(place + 1 + step)] for step in steps):
            found.append(place)
    return np.array(found)


def nearest(points, others, spacing):
    differences = (points[:, None] - others[None]) * np.array(spacing)
    return np.sqrt((differences**2).sum(axis=2)).min(axis=1)


@settings(max_examples=150, deadline=None)
@given(cases(), st.sampled_from([0.0, 0.25, 1.0, 2.1]))
def test_distances_are_those_of_all_pairs_of_points(case, tolerance):
    prediction, truth, spacing = case
    there, back = (nearest(edges(a), edges(b), spacing) for a, b in ((prediction, truth), (truth, prediction)))
    both = np.concatenate([there, back])
    found = surface_score(prediction, truth, SurfaceOptions(spacing=spacing, tolerance=tolerance))
    assert found.hausdorff == pytest.approx(both.max())
    assert found.hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert found.asd_prediction == pytest.approx(there.mean())
    assert found.asd_truth == pytest.approx(back.mean())
    assert found.assd == pytest.approx(both.mean())
    assert found.surface_dice == pytest.approx(np.mean(both <= tolerance))


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from([0.3, 1.1, 2.1]))
def test_distances_are_those_of_monai(case, tolerance):
    prediction, truth, spacing = case
    tensors = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, truth)]
    asked = {"include_background": True, "spacing": spacing}
    theirs = [
        compute_hausdorff_distance(*tensors, **asked),
        compute_hausdorff_distance(*tensors, percentile=95, **asked),
        compute_average_surface_distance(*tensors, **asked),
        compute_average_surface_distance(*tensors[::-1], **asked),
        compute_average_surface_distance(*tensors, symmetric=True, **asked),
    ]
    options = SurfaceOptions(spacing=spacing, tolerance=tolerance)
    found = surface_score(prediction, truth, options)
    assert [getattr(found, name) for name in DISTANCES] == pytest.approx([x.item() for x in theirs], rel=1e-5)
    assert found.surface_dice == pytest.approx(compute_surface_dice(*tensors, [tolerance], **asked).item())
    by_area = surface_score(prediction, truth, options.replace(elements="area"))
    theirs = compute_surface_dice(*tensors, [tolerance], use_subvoxels=True, **asked).item()
    assert by_area.surface_dice == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 0.5), (1.0, 1.0, 1.0), (3.0, 0.7, 1.1)])
def test_the_areas_of_a_surface_are_those_of_nikolov(spacing):
    table, kernel = (np.asarray(a).ravel() for a in get_code_to_measure_table(spacing))
    ours = surface._contour_table(spacing)
    for code, area in enumerate(ours):
        theirs = sum(int(weight) for bit, weight in enumerate(kernel) if code >> bit & 1)
        assert area == pytest.approx(table[theirs], rel=1e-5)


def test_a_square_that_is_moved():
    truth = np.zeros((20, 20), bool)
    truth[5:10, 5:10] = True
    found = surface_score(np.roll(truth, 2, 1), truth, SurfaceOptions(spacing=(10.0, 0.5), tolerance=0.5))
    # Moved by 2 pixels of 0.5 along X. Of the 16 border pixels of either, 6 are on the other's border; the 3 inner
    # ones of the trailing side are 1 away, and so are all 5 of the leading side; the 2 next to a corner 0.5.
    assert found.hausdorff == found.hd95 == pytest.approx(1)
    assert found.asd_prediction == found.asd_truth == found.assd == pytest.approx((6 * 0 + 2 * 0.5 + 8 * 1) / 16)
    assert found.surface_dice == pytest.approx(8 / 16)


def test_planes_far_apart_count_by_their_distance():
    truth, prediction = np.zeros((2, 6, 8, 8), bool)
    truth[1:3, 2:6, 2:6] = True
    prediction[1:4, 2:6, 2:6] = True
    found = surface_score(prediction, truth, SurfaceOptions(spacing=(5.0, 1.0, 1.0), tolerance=1))
    # One plane too much, 5 from the last true one: all its 16 pixels are at the surface. The true surface of the
    # plane below was all at the surface, too; of the prediction's only 12 are, and the inner 4 are 1 apart.
    assert found.hausdorff == found.hd95 == 5
    assert found.asd_prediction == pytest.approx(16 * 5 / (16 + 12 + 16))
    assert found.asd_truth == pytest.approx(4 * 1 / 32)
    assert found.surface_dice == pytest.approx((28 + 32) / (44 + 32))


def test_area_counts_a_long_side_more_than_a_short_one():
    truth, prediction = np.zeros((2, 12, 12), bool)
    truth[2:8, 2:8] = True
    prediction[2:9, 2:8] = True
    # A row too much, 10 high. The corners of pixels on the side that moved: 5 of a length of 1, and two that cut off
    # a corner; those along Y weigh 10 each. The cut corners measure sqrt(5^2 + 0.5^2).
    cut = math.hypot(5, 0.5)
    found = surface_score(prediction, truth, SurfaceOptions(spacing=(10.0, 1.0), tolerance=1, elements="area"))
    predicted, true = 2 * 5 * 1 + 2 * 6 * 10 + 4 * cut, 2 * 5 * 1 + 2 * 5 * 10 + 4 * cut
    # Of the true surface the moved side's 5 inner corners are 1 ... 3 from the sides, the nearest are within 1.
    far = 5 * 1 + 2 * cut
    farther = 3 * 1
    assert found.surface_dice == pytest.approx((predicted - far + true - farther) / (predicted + true))
    assert found.hausdorff == 10
    assert found.asd_prediction == pytest.approx(far * 10 / predicted)


def test_hd95_of_areas_is_what_95_percent_do_not_exceed():
    distances = surface._Distances(np.array([3.0, 0.0, 1.0, 9.0]), np.array([2.0, 90.0, 3.0, 5.0]))
    assert [distances.percentile(p) for p in (50, 90, 93, 95, 95.1, 100)] == [0, 0, 1, 3, 9, 9]


def test_the_larger_direction_decides_hd95():
    truth, prediction = np.zeros((2, 60, 60), bool)
    truth[10:50, 10:50] = True
    prediction[29:31, 29:31] = True
    found = surface_score(prediction, truth)
    assert found.asd_prediction == 19
    assert found.hd95 > 20 > found.asd_prediction


def border_by_erosion(mask, width):
    """The inner border as the authors of the boundary IoU find it: erosion by 3 x 3, again and again."""
    eroded = ndimage.binary_erosion(np.pad(mask, 1), np.ones((3,) * mask.ndim), iterations=width)
    return mask & ~eroded[(slice(1, -1),) * mask.ndim]


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 5))
def test_boundary_iou_is_that_of_repeated_erosion(data, width):
    blobs = arrays(bool, (12, 15)).map(lambda noise: ndimage.binary_dilation(noise, np.ones((3, 3))))
    prediction, truth = data.draw(blobs), data.draw(blobs)
    assume(prediction.any() and truth.any())
    borders = [border_by_erosion(mask, width) for mask in (prediction, truth)]
    found = surface_score(prediction, truth, SurfaceOptions(boundary_share=width / math.hypot(12, 15)))
    expected = np.count_nonzero(borders[0] & borders[1]) / np.count_nonzero(borders[0] | borders[1])
    assert found.boundary_iou == pytest.approx(expected)


def test_boundary_iou_of_a_known_answer():
    truth = np.zeros((30, 40), bool)
    truth[5:25, 5:25] = True
    # The diagonal is 50; 2 % of it is one pixel. The borders are 76 pixels long, and share 2 x 19 along X.
    found = surface_score(np.roll(truth, 1, 1), truth)
    assert found.boundary_iou == pytest.approx(38 / (76 + 76 - 38))
    # A width of 3 of 20: 20 x 20 - 14 x 14 = 204 each.
    wide = surface_score(np.roll(truth, 1, 1), truth, SurfaceOptions(boundary_share=0.06))
    shared = 2 * 3 * 19 + 2 * 2 * 14
    assert wide.boundary_iou == pytest.approx(shared / (204 + 204 - shared))


def test_the_border_of_the_boundary_iou_is_as_wide_in_units_along_each_axis():
    mask = np.ones((9, 40), bool)
    # 0.1 of the diagonal of 45 x 40 is 6.02: 1 pixel of 5 along Y, 6 of 1 along X.
    border = surface._inner_border(mask, [0.1 * math.hypot(45, 40) / step for step in (5, 1)])
    expected = np.ones((9, 40), bool)
    expected[1:-1, 6:-6] = False
    np.testing.assert_array_equal(border, expected)


def test_a_border_wider_than_the_image_is_the_whole_mask():
    truth, prediction = np.zeros((2, 9, 40), bool)
    truth[3:6, 10:30] = True
    prediction[3:6, 12:30] = True
    found = surface_score(prediction, truth, SurfaceOptions(boundary_share=1))
    assert found.boundary_iou == pytest.approx(18 / 20)


def test_a_large_object_that_is_right_inside_is_told_by_its_boundary():
    truth, prediction = np.zeros((2, 200, 200), np.uint8)
    truth[20:180, 20:180] = 1
    prediction[26:174, 26:174] = 1
    scores = evaluate(prediction, truth, surface=True)
    assert scores.iou > 0.85
    assert scores.surface[1].boundary_iou == 0


def test_the_same_mask_is_at_no_distance():
    mask = np.random.default_rng(0).random((6, 20, 20)) > 0.5
    for elements in ("pixels", "area"):
        found = surface_score(mask, mask, SurfaceOptions(spacing=(3.0, 1.0, 1.0), elements=elements))
        assert [getattr(found, name) for name in DISTANCES] == [0] * 5
        assert (found.surface_dice, found.boundary_iou) == (1, 1)


@settings(max_examples=50, deadline=None)
@given(cases(), st.sampled_from(["pixels", "area"]))
def test_the_other_way_round_the_same_distances_are_found(case, elements):
    prediction, truth, spacing = case
    options = SurfaceOptions(spacing=spacing, elements=elements)
    one, other = surface_score(prediction, truth, options), surface_score(truth, prediction, options)
    assert (one.asd_prediction, one.asd_truth) == pytest.approx((other.asd_truth, other.asd_prediction))
    for name in ("hausdorff", "hd95", "assd", "surface_dice", "boundary_iou"):
        assert getattr(one, name) == pytest.approx(getattr(other, name))


@settings(max_examples=50, deadline=None)
@given(cases(), st.sampled_from(["pixels", "area"]))
def test_a_larger_image_and_other_units_change_nothing(case, elements):
    prediction, truth, spacing = case
    options = SurfaceOptions(spacing=spacing, elements=elements, tolerance=2.0)
    first = surface_score(prediction, truth, options)
    in_nanometres = SurfaceOptions(spacing=tuple(1000 * s for s in spacing), elements=elements, tolerance=2000.0)
    second = surface_score(np.pad(prediction, 3), np.pad(truth, 3), in_nanometres)
    for name in DISTANCES:
        assert 1000 * getattr(first, name) == pytest.approx(getattr(second, name))
    assert first.surface_dice == pytest.approx(second.surface_dice)


def test_an_object_of_one_pixel():
    truth, prediction = np.zeros((2, 9, 9), bool)
    truth[4, 4] = prediction[7, 8] = True
    for elements in ("pixels", "area"):
        found = surface_score(prediction, truth, SurfaceOptions(elements=elements))
        assert surface_score(truth, truth, SurfaceOptions(elements=elements)).hausdorff == 0
        if elements == "pixels":
            assert [getattr(found, name) for name in DISTANCES] == pytest.approx([5] * 5)
        assert (found.surface_dice, found.boundary_iou) == (0, 0)
    # The nearest corners of both are 2 and 3 apart, the farthest 3 and 4 from the nearest of the other.
    assert found.hausdorff == 5
    assert found.asd_prediction == pytest.approx((5 + math.hypot(2, 3) + math.hypot(3, 3) + math.hypot(2, 4)) / 4)


def test_nothing_in_one_image_is_infinitely_far():
    truth = np.zeros((9, 9), bool)
    truth[2:5, 2:5] = True
    for pair in ((truth, truth & False), (truth & False, truth)):
        found = surface_score(*pair)
        assert [getattr(found, name) for name in DISTANCES] == [math.inf] * 5
        assert (found.surface_dice, found.boundary_iou) == (0, 0)
        told = surface_score(*pair, SurfaceOptions(missed=12.7))
        assert [getattr(told, name) for name in DISTANCES] == [12.7] * 5


def test_nothing_in_both_images_is_no_number():
    nothing = np.zeros((9, 9), bool)
    found = surface_score(nothing, nothing)
    assert all(math.isnan(getattr(found, name)) for name in (*DISTANCES, "surface_dice", "boundary_iou"))


def test_classes_are_measured_one_by_one():
    truth = np.zeros((20, 20), np.uint8)
    truth[2:8, 2:8], truth[12:18, 12:18] = 1, 7
    prediction = truth.copy()
    prediction[12:18, 12:14] = 0
    found = surface_scores(prediction, truth, [1, 7, 9])
    assert (found[1].hausdorff, found[7].hausdorff) == (0, 2)
    assert math.isnan(found[9].hausdorff)
    one = surface_score(prediction == 7, truth == 7)
    assert found[7] == one


def test_where_nothing_is_known_nothing_is_measured():
    truth = np.zeros((20, 30), np.uint8)
    truth[5:15, 5:15] = 1
    prediction = truth.copy()
    prediction[5:15, 15:25] = 1
    rules = Rules("background", instances=False, white=False, values=(0, 1), ignore_values=(9,))
    assert score(prediction, truth, rules, SurfaceOptions()).surface[1].hausdorff == 10
    # What is right of the object is not known: it may well go on there.
    truth[:, 15:] = 9
    found = score(prediction, truth, rules, SurfaceOptions()).surface[1]
    assert (found.hausdorff, found.surface_dice, found.boundary_iou) == (0, 1, 1)
    # Its left side is known, and counts.
    prediction[5:15, 5:8] = 0
    found = score(prediction, truth, rules, SurfaceOptions()).surface[1]
    assert (found.hausdorff, found.asd_truth > 0) == (3, True)
    # An object that lies in the unknown only is not there.
    truth[:, :15], prediction[:, :15] = 0, 0
    assert math.isnan(score(prediction, truth, rules, SurfaceOptions()).surface[1].hausdorff)


@pytest.mark.parametrize(("elements", "distance"), [("pixels", 1), ("area", 2)])
def test_a_surface_that_is_unknown_on_one_side_leaves_the_other(elements, distance):
    truth, counted = np.zeros((2, 10, 10), bool)
    truth[2:8, 2:8] = True
    prediction = truth.copy()
    prediction[4:6, 4:6] = False
    # Known is only the hole, and one side of it: the reference has no surface there.
    counted[4:6, 3:6] = True
    found = surface_score(prediction, truth, SurfaceOptions(elements=elements, tolerance=2), counted)
    assert found.hausdorff == found.hd95 == found.asd_prediction == found.assd == distance
    assert math.isnan(found.asd_truth)
    assert found.surface_dice == 1


def test_objects_are_measured_all_together():
    truth = np.zeros((30, 30), np.uint16)
    truth[2:8, 2:8], truth[12:18, 12:18], truth[20:28, 2:10] = 1, 2, 3
    prediction = np.where(truth == 3, 0, truth)
    scores = evaluate(prediction, truth, instances=True, surface=True)
    assert set(scores.surface) == {1}
    assert scores.surface[1] == surface_score(prediction > 0, truth > 0)


def test_the_size_of_a_pixel_is_that_of_the_file(tmp_path):
    truth = np.zeros((4, 30, 30), np.uint8)
    truth[1:3, 5:15, 5:15] = 1
    options = {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 2.0, "unit": "um"}, "resolution": (4.0, 4.0)}
    tifffile.imwrite(tmp_path / "truth.tif", truth, **options)
    tifffile.imwrite(tmp_path / "moved.tif", np.roll(truth, 2, 2), **options)
    scores = evaluate(tmp_path / "moved.tif", tmp_path / "truth.tif", surface=True)
    assert scores.surface[1].hausdorff == pytest.approx(0.5)
    # The tolerance is a pixel's longest side by default, here 2: everything is within.
    assert scores.surface[1].surface_dice == 1
    told = evaluate(tmp_path / "moved.tif", tmp_path / "truth.tif", surface=True, spacing=(2, 1, 3), tolerance=1)
    assert told.surface[1].hausdorff == pytest.approx(6)
    assert told.surface[1].surface_dice < 1
    assert evaluate(tmp_path / "moved.tif", tmp_path / "truth.tif").surface is None


def test_what_cannot_be_measured_is_refused(tmp_path):
    plane = np.ones((5, 5), np.uint8)
    with pytest.raises(DataError, match=r"in planes and volumes, not in 1 dimension\. Give \(Y, X\)"):
        evaluate(plane[0], plane[0], surface=True)
    with pytest.raises(DataError, match="not in 4 dimensions"):
        evaluate(plane[None, None], plane[None, None], surface=True)
    with pytest.raises(DataError, match=r"spacing \(1.0, 1.0, 1.0\) has 3 numbers, the image 2 axes"):
        evaluate(plane, plane, surface=True, spacing=(1, 1, 1))
    for wrong in ((0, 1), (-1, 1)):
        with pytest.raises(DataError, match="size of a pixel is above 0 along each axis"):
            evaluate(plane, plane, surface=True, spacing=wrong)
    for wrong in ((math.nan, 1), (math.inf, 1), ("wide", 1)):
        with pytest.raises(ConfigError, match=r"spacing\.0 = "):
            evaluate(plane, plane, surface=True, spacing=wrong)
    with pytest.raises(ConfigError, match="tolerance = -1"):
        evaluate(plane, plane, surface=True, tolerance=-1)
    with pytest.raises(ConfigError, match="Give surface=True"):
        evaluate(plane, plane, spacing=(1, 1))
    with pytest.raises(DataError, match=r"shape \(5, 5\), the reference \(4, 5\)"):
        surface_scores(plane, plane[1:], [1])
    with pytest.raises(ConfigError, match="percentile = 0"):
        validated(SurfaceOptions, {"percentile": 0})


def test_files_that_are_no_volume_or_do_not_tell_the_planes_distance_are_refused(tmp_path):
    stack = np.zeros((3, 8, 9), np.uint8)
    stack[:, 2:5, 2:5] = 1
    tifffile.imwrite(tmp_path / "time.tif", stack, imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(DataError, match=r"time\.tif has the axes TYX"):
        evaluate(tmp_path / "time.tif", tmp_path / "time.tif", surface=True)
    image = open_labels(tmp_path / "time.tif", axes="ZYX")
    assert image.axes == "ZYX"
    flat = type(image)(image.path, image.array, image.axes, (0.5, 0.5), "micrometer")
    with pytest.raises(DataError, match=r"how far its planes are apart, only a pixel of 0\.5 x 0\.5"):
        surface.spacing_of(flat)
