"""A stack is cut into base, middle and apex of the reference's object."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_segnet.errors import ConfigError, DataError
from napari_segnet.evaluation.thirds import plane_regions, score_regions


def heart(planes=6, before=2, after=3):
    """Return a stack with a bar of 2 x 5 pixels in some planes."""
    truth = np.zeros((before + planes + after, 6, 8), np.uint8)
    truth[before : before + planes, 2:4, 1:6] = 1
    return truth


@pytest.mark.parametrize(
    ("planes", "expected"),
    [
        (1, [1]),
        (2, [0, 2]),
        (3, [0, 1, 2]),
        (4, [0, 1, 1, 2]),
        (5, [0, 0, 1, 2, 2]),
        (6, [0, 0, 1, 1, 2, 2]),
        (7, [0, 0, 1, 1, 1, 2, 2]),
    ],
)
def test_planes_belong_to_the_third_in_which_their_middle_lies(planes, expected):
    inside = np.pad(np.ones(planes, bool), (2, 1))
    assert plane_regions(inside, 3, "first").tolist() == [0, 0, *expected, 2]
    assert plane_regions(inside, 3, "last").tolist() == [2, 2, *[2 - r for r in expected], 0]


@given(st.integers(1, 40), st.integers(1, 9))
def test_parts_differ_by_one_plane_at_most(planes, parts):
    regions = plane_regions(np.ones(planes, bool), parts, "first")
    sizes = np.bincount(regions, minlength=parts)
    assert sizes.max() - sizes.min() <= 1
    assert (np.diff(regions) >= 0).all()


def test_gaps_in_the_object_do_not_matter():
    inside = np.array([False, True, False, False, False, True, True])
    assert plane_regions(inside, 3, "first").tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_known_scores_of_thirds():
    truth = heart()
    prediction = truth.copy()
    prediction[2] = 0  # half of the base is missed
    prediction[8, 2:4, 1:6] = 1  # a plane too many beyond the apex
    found = score_regions(prediction, truth, base="first", spacing=(10, 2, 0.5))
    assert [(r.region, r.value, r.first, r.last) for r in found] == [
        ("base", 1, 2, 3),
        ("middle", 1, 4, 5),
        ("apex", 1, 6, 7),
    ]
    assert [r.dice for r in found] == pytest.approx([2 * 10 / 30, 1, 2 * 20 / 50])
    assert [r.iou for r in found] == pytest.approx([10 / 20, 1, 20 / 30])
    assert [r.truth_volume for r in found] == pytest.approx([200, 200, 200])
    assert [r.predicted_volume for r in found] == pytest.approx([100, 200, 300])
    turned = score_regions(prediction, truth, base="last")
    assert [r.dice for r in turned] == pytest.approx([2 * 20 / 50, 1, 2 * 10 / 30])
    assert (turned[0].first, turned[0].last) == (6, 7)


def test_the_axis_can_be_another():
    truth = heart()
    prediction = np.where(np.arange(11)[:, None, None] == 2, 0, truth)
    expected = score_regions(prediction, truth, base="first", spacing=(3, 2, 1))
    for axis in (2, -1):
        moved = [np.moveaxis(side, 0, 2) for side in (prediction, truth)]
        assert score_regions(*moved, base="first", spacing=(2, 1, 3), axis=axis) == expected


volumes = arrays("uint8", (5, 3, 3), elements=st.integers(0, 2))


@settings(max_examples=60, deadline=None)
@given(volumes, volumes, st.sampled_from(["first", "last"]), st.integers(1, 6))
def test_parts_add_up_to_the_whole(prediction, truth, base, number):
    truth[2, 0, 0] = 1
    names = [f"part {k}" for k in range(number)]
    found = score_regions(prediction, truth, [1, 2], base=base, regions=names)
    assert [r.region for r in found] == [name for name in names for _ in (1, 2)]
    for value in (1, 2):
        mine = [r for r in found if r.value == value]
        assert sum(r.truth_volume for r in mine) == (truth == value).sum()
        assert sum(r.predicted_volume for r in mine) == (prediction == value).sum()
        shared = sum(r.dice * (r.truth_volume + r.predicted_volume) / 2 for r in mine if not math.isnan(r.dice))
        assert shared == pytest.approx(((truth == value) & (prediction == value)).sum())


def test_fewer_planes_than_parts_leave_parts_without_a_score():
    truth = heart(planes=1)
    base, middle, apex = score_regions(truth, truth, base="first")
    assert (middle.first, middle.last, middle.dice) == (2, 2, 1)
    for part in (base, apex):
        assert (part.first, part.last, part.truth_volume) == (None, None, 0)
        assert math.isnan(part.dice)


def test_without_a_reference_there_are_no_parts():
    nothing = heart() * 0
    for part in score_regions(heart(), nothing, base="first"):
        assert part.first is None
        assert math.isnan(part.dice)
        assert math.isnan(part.predicted_volume)
    assert score_regions(nothing, nothing, base="first") == []
    assert all(part.dice == 0 for part in score_regions(nothing, heart(), base="first"))


def test_a_class_that_is_in_one_image_only_scores_zero_there():
    truth = heart()
    truth[2:4][truth[2:4] > 0] = 2
    found = {(r.region, r.value): r.dice for r in score_regions(heart(), truth, base="first")}
    assert found[("base", 1)] == found[("base", 2)] == 0
    assert found[("middle", 1)] == 1
    assert math.isnan(found[("middle", 2)])


def test_what_has_no_parts_is_refused():
    truth = heart()
    with pytest.raises(DataError, match="no parts along Z"):
        score_regions(truth[0], truth[0], base="first")
    with pytest.raises(ConfigError, match="end called 'top'"):
        score_regions(truth, truth, base="top")
    with pytest.raises(ConfigError, match="no two alike"):
        score_regions(truth, truth, base="first", regions=("a", "a"))
    with pytest.raises(ConfigError, match="axis = 3"):
        score_regions(truth, truth, base="first", axis=3)
    with pytest.raises(DataError, match="doesn't fit an image with 3 axes"):
        score_regions(truth, truth, base="first", spacing=(1, 1))
