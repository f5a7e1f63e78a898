"""Betti numbers are those of homology, and clDice that of its paper."""

import math
from pathlib import Path

import gudhi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.measure import euler_number
from skimage.morphology import skeletonize

from napari_segnet.errors import ConfigError, DataError
from napari_segnet.evaluation.topology import (
    betti_errors,
    betti_numbers,
    cl_dice,
    euler_characteristic,
    score_topology,
    skeleton,
)

planes = arrays(bool, st.tuples(*[st.integers(1, 7)] * 2))
volumes = arrays(bool, st.tuples(*[st.integers(1, 4)] * 3))
pairs = st.sampled_from([(6, 7), (3, 4, 5)]).flatmap(lambda shape: st.tuples(*[arrays(bool, shape)] * 2))


def homology(mask, connectivity):
    """Betti numbers of the cubical complex whose cells are the pixels (they touch at corners), or its vertices."""
    heights = np.where(np.pad(mask, 1), 0.0, 1.0)
    if connectivity == "full":
        found = gudhi.CubicalComplex(top_dimensional_cells=heights)
    else:
        found = gudhi.CubicalComplex(vertices=heights)
    found.compute_persistence()
    return tuple((found.persistent_betti_numbers(0.0, 0.5) + [0] * mask.ndim)[: mask.ndim])


@settings(max_examples=150, deadline=None)
@given(planes | volumes, st.sampled_from(["full", "face"]))
def test_betti_numbers_are_those_of_cubical_homology(mask, connectivity):
    assert betti_numbers(mask, connectivity) == homology(mask, connectivity)


@settings(max_examples=60, deadline=None)
@given(planes | volumes, st.booleans())
def test_the_euler_characteristic_is_that_of_scikit_image_and_of_the_betti_numbers(mask, full):
    padded = np.pad(mask, 1)
    found = euler_characteristic(padded, full)
    assert found == euler_number(padded, mask.ndim if full else 1)
    numbers = betti_numbers(mask, "full" if full else "face")
    assert found == sum((-1) ** k * number for k, number in enumerate(numbers))


def test_shapes_that_everybody_can_count():
    ring = np.ones((5, 5), bool)
    ring[2, 2] = False
    assert betti_numbers(ring) == (1, 1)
    shell = np.ones((5, 5, 5), bool)
    shell[2, 2, 2] = False
    assert betti_numbers(shell) == (1, 0, 1)
    torus = np.repeat(ring[None], 2, axis=0)
    assert betti_numbers(torus) == (1, 1, 0)
    corner = np.eye(2, dtype=bool)
    assert (betti_numbers(corner), betti_numbers(corner, "face")) == ((1, 0), (2, 0))


def test_what_reaches_the_border_is_no_hole():
    mask = np.ones((4, 4), bool)
    mask[0, 1] = False
    assert betti_numbers(mask) == (1, 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), (5, 1)])
def test_one_pixel_and_none(shape):
    mask = np.zeros(shape, bool)
    assert betti_numbers(mask) == (0,) * len(shape)
    mask.flat[0] = True
    assert betti_numbers(mask) == (1, *(0,) * (len(shape) - 1))
    assert cl_dice(mask, mask) == 1


def test_betti_errors_are_differences():
    truth = np.zeros((9, 20), bool)
    truth[2:7, 2:7] = True
    truth[4, 4] = False
    prediction = truth.copy()
    prediction[4, 4] = True
    prediction[2:4, 12:14] = prediction[6:8, 16:18] = True
    scores = score_topology(prediction, truth)
    assert (scores.truth_betti, scores.predicted_betti, scores.betti_errors) == ((1, 1), (3, 0), (2, 1))
    assert scores.betti_error == 3
    assert scores.to_dict()["b0_error"] == 2


def test_the_page_says_what_each_number_is():
    page = (Path(__file__).parents[2] / "docs" / "agreement.md").read_text(encoding="utf-8")
    numbers = score_topology(np.ones((2, 2, 2)), np.ones((2, 2, 2))).to_dict()
    measures = [name for name in numbers if not name.startswith(("truth", "predicted"))]
    assert len(measures) == 7
    for name in measures:
        assert f"`{name}`" in page, name


def test_errors_that_cancel_out_show_up_in_tiles():
    truth, prediction = np.zeros((2, 8, 16), bool)
    truth[2, 2], prediction[2, 12] = True, True
    assert betti_errors(prediction, truth) == (0, 0)
    assert betti_errors(prediction, truth, window=8) == (1, 0)
    assert betti_errors(prediction, truth, window=(8, 5)) == (pytest.approx(2 / 4), 0)


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_cl_dice_is_the_harmonic_mean_of_shares_of_skeletons(masks):
    prediction, truth = masks
    found = score_topology(prediction, truth)
    if not prediction.any() and not truth.any():
        assert math.isnan(found.cl_dice)
        return
    # In planes the skeletons are scikit-image's own.
    thinned = skeletonize if truth.ndim == 2 else skeleton
    ours, theirs = thinned(prediction), thinned(truth)
    precision = (ours & truth).sum() / ours.sum() if ours.any() else 0
    sensitivity = (theirs & prediction).sum() / theirs.sum() if theirs.any() else 0
    expected = 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0
    assert found.cl_dice == cl_dice(prediction, truth) == pytest.approx(expected)
    assert found.cl_dice == pytest.approx(cl_dice(truth, prediction))


@settings(max_examples=80, deadline=None)
@given(planes | volumes)
def test_each_piece_has_a_skeleton_within_it(mask):
    thin = skeleton(mask)
    assert not (thin & ~mask).any()
    everywhere = np.ones((3,) * mask.ndim)
    pieces, count = ndimage.label(mask, everywhere)
    assert set(np.unique(pieces[thin])) == set(range(1, count + 1))
    # What scikit-image leaves is unchanged.
    assert not (skeletonize(mask) & ~thin).any()


def test_a_known_cl_dice():
    truth = np.zeros((11, 30), bool)
    truth[4:7, 2:28] = True
    found = score_topology(truth, truth)
    assert (found.cl_dice, found.cl_precision, found.cl_sensitivity) == (1, 1, 1)
    # A line of one pixel is its own skeleton: 10 of 20 pixels are in the other.
    line, half = np.zeros((2, 5, 30), bool)
    line[2, 5:25], half[2, 5:15] = True, True
    found = score_topology(half, line)
    assert (found.cl_precision, found.cl_sensitivity) == (1, 0.5)
    assert found.cl_dice == pytest.approx(2 / 3)


def test_a_gap_costs_little_dice_and_is_seen_by_betti_numbers():
    truth = np.zeros((9, 100), bool)
    truth[3:6, 5:95] = True
    prediction = truth.copy()
    prediction[:, 50] = False
    assert betti_errors(prediction, truth) == (1, 0)
    assert 0.97 < cl_dice(prediction, truth) < 1


def test_a_block_that_skeletons_lose_is_not_lost():
    block = np.zeros((6, 6, 6), bool)
    block[2:4, 2:4, 2:4] = True
    assert skeletonize(block).sum() == 0
    assert skeleton(block).sum() == 1
    assert cl_dice(block, block) == 1


def test_empty_masks():
    nothing, something = np.zeros((6, 6), bool), np.eye(6, dtype=bool)
    scores = score_topology(nothing, nothing)
    assert math.isnan(scores.cl_dice)
    assert (scores.truth_betti, scores.betti_error) == ((0, 0), 0)
    assert scores.to_dict()["cl_dice"] is None
    assert score_topology(nothing, something).cl_dice == score_topology(something, nothing).cl_dice == 0


def test_what_is_no_mask_is_refused():
    plane = np.zeros((4, 4), np.uint8)
    with pytest.raises(DataError, match=r"shape \(4, 4\), the reference \(4, 5\)"):
        cl_dice(plane, np.zeros((4, 5)))
    with pytest.raises(DataError, match="a plane"):
        betti_numbers(np.zeros(4))
    with pytest.raises(DataError, match="no whole numbers"):
        cl_dice(plane + 0.5, plane)
    with pytest.raises(ConfigError, match="connectivity called 'fulll'"):
        betti_numbers(plane, "fulll")
    with pytest.raises(ConfigError, match="window = 0"):
        betti_errors(plane, plane, window=0)
    with pytest.raises(ConfigError, match="one number, or 2"):
        betti_errors(plane, plane, window=(1, 2, 3))
