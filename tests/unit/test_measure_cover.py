"""What classes cover: of images, of the circle of a fisheye lens, and of regions; with densities of objects."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_segnet.annotations.model import Ellipse, Region
from napari_segnet.config import LabelClass
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.measure import CircleOptions, ObjectOptions, cover_fractions, measure_regions, region_of
from napari_segnet.measure.circle import ring_numbers, solid_angles, zenith_angles
from napari_segnet.measure.regions import region_mask

SKY = LabelClass(value=1, name="sky", colour="#1f77b4")
CANOPY = LabelClass(value=0, name="canopy", colour="#2ca02c")


def column(table, name):
    return dict(zip(table["class"].tolist(), table[name].tolist(), strict=True))


def test_vegetation_density_is_one_minus_the_mean_of_the_sky():
    sky = (np.random.default_rng(0).random((64, 80)) > 0.3).astype(np.uint8)
    table = cover_fractions(sky, classes=(CANOPY, SKY), spacing=0.5, units="millimeter")
    assert column(table, "remaining")[1] == pytest.approx(1 - sky.mean())
    assert column(table, "fraction")[0] == pytest.approx(1 - sky.mean())
    assert column(table, "class_name") == {0: "canopy", 1: "sky"}
    assert column(table, "area")[1] == sky.sum() * 0.25
    assert column(table, "counted_pixels") == {0: sky.size, 1: sky.size}


def test_pixels_that_don_t_count_change_no_fraction():
    labels = np.array([[0, 1, 1, 2, 255, 255]], np.uint8)
    table = cover_fractions(labels, task="semantic", unlabelled="ignore", ignore_values=(255,))
    assert column(table, "fraction") == pytest.approx({1: 2 / 3, 2: 1 / 3})
    assert column(table, "ignored_pixels") == {1: 3, 2: 3}


def test_classes_that_aren_t_there_cover_nothing():
    table = cover_fractions(np.zeros((4, 4), np.uint8), classes=(CANOPY, SKY))
    assert column(table, "fraction") == {0: 1, 1: 0}
    nothing = cover_fractions(np.zeros((4, 4), np.uint8), classes=(SKY,), unlabelled="ignore")
    assert math.isnan(column(nothing, "fraction")[1])
    assert len(cover_fractions(np.zeros((4, 4), np.uint8), unlabelled="ignore")) == 0


def test_numbered_objects_cover_as_one_class():
    labels = np.array([[1, 1, 2, 3, 0, 0, 9, 0]], np.uint8)
    table = cover_fractions(labels, task="instances", ignore_values=(9,))
    assert column(table, "fraction") == pytest.approx({0: 3 / 7, 1: 4 / 7})
    assert column(table, "class_name")[1] == "object"


def test_an_area_and_probabilities_of_it():
    labels = np.array([[1, 1, 0, 0]], np.uint8)
    probabilities = np.array([[[0.1, 0.2, 0.9, 0.8]], [[0.9, 0.8, 0.1, 0.2]]], np.float32)
    table = cover_fractions(labels, probabilities=probabilities, area=np.array([[1, 1, 1, 0]]))
    assert column(table, "fraction") == pytest.approx({0: 1 / 3, 1: 2 / 3})
    assert column(table, "mean_probability") == pytest.approx({0: 0.4, 1: 0.6})


def test_only_the_largest_circle_counts_in_a_hemispherical_photograph():
    labels = np.zeros((200, 300), np.uint8)
    y, x = np.mgrid[:200, :300]
    labels[np.hypot(y - 99.5, x - 149.5) <= 50] = 1
    labels[:, :40] = 1  # outside the circle
    table = cover_fractions(labels, circle=CircleOptions())
    assert column(table, "fraction")[1] == pytest.approx(0.25, abs=0.003)
    assert table["counted_pixels"].iloc[0] == pytest.approx(math.pi * 100**2, rel=0.002)
    moved = cover_fractions(labels, circle=CircleOptions(centre=(99.5, 149.5), radius=50))
    assert column(moved, "fraction")[1] == 1


def test_rings_are_those_of_the_angle_from_the_zenith():
    labels = np.zeros((401, 401), np.uint8)
    labels[:, :201] = 1
    table = cover_fractions(labels, circle=CircleOptions(rings=3))
    sky = table[table["class"] == 1]
    assert sky[["zenith_start", "zenith_stop"]].to_numpy().tolist() == [[0, 30], [30, 60], [60, 90]]
    assert sky["fraction"].tolist() == pytest.approx([0.5, 0.5, 0.5], abs=0.01)
    # Equidistant: rings of equal angle are equally wide, so their areas grow as 1 : 3 : 5.
    assert (sky["counted_pixels"] / sky["counted_pixels"].iloc[0]).tolist() == pytest.approx([1, 3, 5], rel=0.02)
    inner = cover_fractions(labels, circle=CircleOptions(zenith=(0, 60)))
    assert inner["counted_pixels"].iloc[0] == sky["counted_pixels"].iloc[:2].sum()


@pytest.mark.parametrize(
    ("projection", "half"),
    [
        ("equidistant", 45),
        ("equisolid", 2 * math.degrees(math.asin(math.sin(math.radians(45)) / 2))),
        ("stereographic", 2 * math.degrees(math.atan(0.5))),
    ],
)
def test_lenses_show_angles_where_their_formulas_say(projection, half):
    circle = CircleOptions(projection=projection)
    angles = zenith_angles((401, 401), circle)
    assert angles[200, 200] == 0
    assert angles[200, 0] == pytest.approx(90, abs=0.5)
    assert angles[200, 100] == pytest.approx(half, abs=0.3)
    assert np.isnan(angles[0, 0])
    # The sky above a cone of 60 degrees is half of the hemisphere, whatever the lens.
    inside = ~np.isnan(angles)
    weights = solid_angles(angles[inside], circle)
    assert weights[angles[inside] <= 60].sum() / weights.sum() == pytest.approx(0.5, abs=0.01)


def test_fractions_of_the_sky_weigh_pixels_by_what_they_show():
    labels = np.zeros((401, 401), np.uint8)
    y, x = np.mgrid[:401, :401] - 200
    labels[np.hypot(y, x) <= 200.5 * 2 / 3] = 1  # 60 degrees of an equidistant lens
    pixels = cover_fractions(labels, circle=CircleOptions())
    sky = cover_fractions(labels, circle=CircleOptions(weights="solid-angle"))
    assert column(pixels, "fraction")[1] == pytest.approx(4 / 9, abs=0.005)
    assert column(sky, "fraction")[1] == pytest.approx(0.5, abs=0.005)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.integers(2, 60), st.integers(1, 9), st.floats(90, 300))
def test_every_pixel_of_the_circle_is_in_one_ring(height, width, rings, view):
    circle = CircleOptions(rings=rings, field_of_view=view)
    angles = zenith_angles((height, width), circle)
    numbers = ring_numbers(angles, circle)
    assert np.array_equal(numbers > 0, ~np.isnan(angles))
    assert numbers.max() <= rings


@pytest.mark.parametrize(
    ("labels", "circle", "words"),
    [
        (np.zeros((3, 8, 8), np.uint8), {}, "in a volume"),
        (np.zeros((8, 8), np.uint8), {"centre": (500, 500), "radius": 3}, "has no pixel of the image of 8 x 8"),
    ],
)
def test_circles_that_can_t_be_are_refused(labels, circle, words):
    with pytest.raises(DataError, match=words):
        cover_fractions(labels, circle=CircleOptions(**circle))


def test_angles_have_to_go_outwards():
    with pytest.raises(ValueError, match="has to go outwards"):
        CircleOptions(zenith=(60, 30))
    with pytest.raises(ValueError, match="not beyond 60 degrees"):
        CircleOptions(field_of_view=120, zenith=(0, 70))


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.integers(0, 4)))
def test_fractions_add_up_to_one(labels):
    table = cover_fractions(labels, task="semantic")
    assert table["fraction"].sum() == pytest.approx(1)
    assert table["pixels"].sum() == labels.size


def test_regions_have_areas_fractions_and_densities():
    labels = np.zeros((40, 60), np.uint8)
    for row, start in ((5, 5), (5, 15), (25, 5), (25, 40)):
        labels[row : row + 4, start : start + 5] = 1
    square = region_of([[-0.5, -0.5], [-0.5, 29.5], [19.5, 29.5], [19.5, -0.5]], "rectangle", "plot A")
    everything = region_of([[-9, -9], [-9, 90], [90, 90], [90, -9]])
    table = measure_regions(labels, [square, everything], spacing=0.5, units="meter", task="semantic")
    painted = table[table["class"] == 1]
    assert painted["region_name"].tolist() == ["plot A", "region 2"]
    assert painted["region_area"].tolist() == [600 * 0.25, 2400 * 0.25]
    assert painted["fraction"].tolist() == pytest.approx([40 / 600, 80 / 2400])
    assert painted["objects"].tolist() == [2, 4]
    assert painted["density"].tolist() == pytest.approx([2 / 150, 4 / 600])
    assert table[table["class"] == 0]["objects"].tolist() == [0, 0]


def test_a_label_image_of_regions_counts_objects_by_their_centroid():
    labels = np.zeros((10, 20), np.uint8)
    labels[4:6, 8:13] = 3  # its middle is in column 10
    labels[0:2, 0:2] = 5
    regions = np.zeros((10, 20), np.uint16)
    regions[:, :10], regions[:, 10:] = 7, 9
    table = measure_regions(labels, regions, task="instances")
    counts = table[table["class"] == 1].set_index("region")["objects"]
    assert counts.to_dict() == {7: 1, 9: 1}
    few = measure_regions(labels, regions, task="instances", options=ObjectOptions(minimum_pixels=5))
    assert few[few["class"] == 1].set_index("region")["objects"].to_dict() == {7: 0, 9: 1}


def test_shapes_cover_the_pixels_whose_centres_they_hold():
    # A triangle: centres of the first pixels are at whole numbers, as in the viewer.
    triangle = region_mask(region_of([[0, 0], [0, 4], [4, 0]]), (6, 6))
    y, x = np.mgrid[:6, :6]
    inside, border = (y + x < 4), (y + x == 4) | (y == 0) | (x == 0)
    assert np.array_equal(triangle[~border], inside[~border])
    box = np.array([[10, 10], [10, 50], [30, 50], [30, 10]], float)
    ellipse = region_mask(region_of(box, "ellipse"), (60, 60))
    y, x = np.mgrid[:60, :60]
    assert np.array_equal(ellipse, ((y - 20) / 10) ** 2 + ((x - 30) / 20) ** 2 <= 1)


@pytest.mark.parametrize("angle", [0.3, 1.2, 2.5])
def test_turned_ellipses_are_turned(angle):
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    box = np.array([[-10, -20], [-10, 20], [10, 20], [10, -20]], float) @ turn.T + 40
    mask = region_mask(region_of(box, "ellipse"), (80, 80))
    y, x = (turn.T @ (np.mgrid[:80, :80].reshape(2, -1) - 40)).reshape(2, 80, 80)
    assert np.array_equal(mask, (y / 10) ** 2 + (x / 20) ** 2 <= 1)


def test_a_shape_in_a_volume_lies_in_its_plane_or_in_all():
    flat = [[2, 2], [2, 8], [8, 8], [8, 2]]
    assert region_mask(region_of(flat), (4, 10, 10)).any(axis=(1, 2)).tolist() == [True] * 4
    deep = [[2, *corner] for corner in flat]
    assert region_mask(region_of(deep), (4, 10, 10)).any(axis=(1, 2)).tolist() == [False, False, True, False]
    assert region_of([[1, *corner] for corner in deep]).plane == (1, 2)
    beyond = [[9, *corner] for corner in flat]
    assert not region_mask(region_of(beyond), (4, 10, 10)).any()
    volume = np.ones((4, 10, 10), np.uint8)
    table = measure_regions(volume, [region_of(deep)], spacing=(2, 1, 1), task="semantic")
    assert table["region_volume"].iloc[-1] == table["volume"].iloc[-1] == 2 * 36


@pytest.mark.parametrize(
    ("vertices", "kind", "words"),
    [
        ([[0, 0], [1, 1], [2, 2]], "path", "'path' encloses no area"),
        ([[0, 0], [1, 1]], "polygon", "no region"),
        ([[0, 0], [1, np.nan], [2, 2]], "polygon", "no region"),
        ([[0, 0, 0], [5, 1, 1], [9, 2, 2]], "polygon", "several planes"),
        ([[0, 0], [1, 1], [2, 2]], "ellipse", "4 corners, not 3"),
    ],
)
def test_shapes_that_are_no_regions_are_refused(vertices, kind, words):
    with pytest.raises(DataError, match=words):
        region_of(vertices, kind)


def test_regions_are_needed_and_have_to_fit():
    labels = np.ones((8, 8), np.uint8)
    with pytest.raises(DataError, match="no regions"):
        measure_regions(labels, [])
    with pytest.raises(DataError, match="no regions"):
        measure_regions(labels, np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match="image of regions has the size"):
        measure_regions(labels, np.ones((8, 9), np.uint8))
    outside = measure_regions(labels, [Region("far", (Ellipse(100, 100, 3, 3),))])
    assert outside["objects"].sum() == 0
    assert outside["density"].isna().all()
    with pytest.raises(ConfigError, match="can't be"):
        measure_regions(labels, np.ones((8, 8), np.uint8), spacing=(-1, 1))
