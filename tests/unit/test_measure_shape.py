"""Size and shape of objects: shapes worked out by hand, other spacings, and scikit-image where it measures the same."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage import measure

from napari_segnet.measure.shape import boundary_size, euler_number, shape_of

Y, X = np.mgrid[-60:61, -60:61]
Z3, Y3, X3 = np.mgrid[-24:25, -24:25, -24:25]


def blob(shape=(40, 50), seed=0):
    """Return one irregular piece that fills its box."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, bool)
    for _ in range(8):
        start = [int(rng.integers(0, n // 2)) for n in shape]
        mask[tuple(slice(s, s + int(rng.integers(n // 4, n // 2))) for s, n in zip(start, shape, strict=True))] = True
    labels = measure.label(mask)
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    corners = np.argwhere(largest)
    return largest[tuple(slice(a, b + 1) for a, b in zip(corners.min(0), corners.max(0), strict=True))]


def test_a_rectangle_has_the_size_that_it_has():
    found = shape_of(np.ones((10, 40), bool), (0.5, 0.5))
    assert found["area"] == 100
    assert found["axis_major"] == pytest.approx(4 * 20 / math.sqrt(12))  # variance of an even spread over its length
    assert found["axis_minor"] == pytest.approx(4 * 5 / math.sqrt(12))
    assert found["aspect_ratio"] == pytest.approx(4)
    assert found["eccentricity"] == pytest.approx(math.sqrt(1 - 1 / 16))
    assert found["orientation"] == pytest.approx(0)
    assert found["feret_max"] == pytest.approx(math.hypot(5, 20))
    assert found["feret_min"] == pytest.approx(5)
    assert found["solidity"] == pytest.approx(1)
    assert found["extent"] == 1
    assert found["euler_number"] == 1
    assert found["equivalent_diameter"] == pytest.approx(math.sqrt(400 / math.pi))
    assert found["perimeter"] == pytest.approx(50, rel=0.07)


def test_thick_rows_make_a_square_of_a_flat_rectangle():
    found = shape_of(np.ones((10, 40), bool), (4, 1))
    assert found["area"] == 1600
    assert found["axis_major"] == pytest.approx(found["axis_minor"])
    assert found["eccentricity"] == 0
    assert found["feret_max"] == pytest.approx(40 * math.sqrt(2))
    assert found["feret_min"] == pytest.approx(40)
    assert found["perimeter"] == pytest.approx(160, rel=0.07)


@pytest.mark.parametrize("spacing", [(1, 1), (2, 1), (1, 3), (0.2, 0.2)])
def test_a_disc_is_a_disc_whatever_the_pixels(spacing):
    radius = 50 * min(spacing)
    found = shape_of((Y * spacing[0]) ** 2 + (X * spacing[1]) ** 2 <= radius**2, spacing)
    assert found["area"] == pytest.approx(math.pi * radius**2, rel=0.005)
    assert found["perimeter"] == pytest.approx(2 * math.pi * radius, rel=0.012)
    assert found["circularity"] == pytest.approx(1, abs=0.02)
    assert found["equivalent_diameter"] == pytest.approx(2 * radius, rel=0.003)
    assert found["axis_major"] == pytest.approx(2 * radius, rel=0.01)
    assert found["axis_minor"] == pytest.approx(2 * radius, rel=0.01)
    # Corners of pixels reach a little farther than the circle.
    assert 2 * radius <= found["feret_max"] <= 2 * radius + math.hypot(*spacing) * 1.5
    assert found["solidity"] > 0.96


@pytest.mark.parametrize("spacing", [(1, 1, 1), (2, 1, 1), (4, 1, 1), (0.5, 0.25, 0.25)])
def test_a_ball_is_a_ball_whatever_the_voxels(spacing):
    radius = 24 * min(spacing)
    inside = sum((axis * side) ** 2 for axis, side in zip((Z3, Y3, X3), spacing, strict=True)) <= radius**2
    found = shape_of(inside, spacing)
    assert found["volume"] == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.01)
    assert found["surface_area"] == pytest.approx(4 * math.pi * radius**2, rel=0.02)
    assert found["sphericity"] == pytest.approx(1, abs=0.02)
    assert found["axis_major"] == pytest.approx(2 * radius, rel=0.015)
    assert found["axis_minor"] == pytest.approx(2 * radius, rel=0.015)
    assert found["euler_number"] == 1


def test_a_box_of_thick_sections_points_where_it_is_longest():
    found = shape_of(np.ones((10, 6, 4), bool), (5, 1, 1))
    assert found["volume"] == 1200
    assert found["axis_major"] == pytest.approx(2 * math.sqrt(5 / 12) * 50)
    assert found["axis_middle"] == pytest.approx(2 * math.sqrt(5 / 12) * 6)
    assert found["axis_minor"] == pytest.approx(2 * math.sqrt(5 / 12) * 4)
    assert [abs(found[f"direction_{a}"]) for a in "zyx"] == pytest.approx([1, 0, 0])
    assert found["feret_max"] == pytest.approx(math.sqrt(50**2 + 6**2 + 4**2))
    assert found["solidity"] == pytest.approx(1)


@pytest.mark.parametrize(("mask", "angle"), [(np.eye(30), 135), (np.eye(30)[::-1], 45), (np.ones((30, 2)), 90)])
def test_orientation_is_counted_from_x_counter_clockwise(mask, angle):
    assert shape_of(mask.astype(bool), (1, 1))["orientation"] == pytest.approx(angle)


def test_a_diagonal_of_long_rows_is_flatter_than_45_degrees():
    found = shape_of(np.eye(60, dtype=bool)[::-1], (1, 3))
    assert found["orientation"] == pytest.approx(math.degrees(math.atan(1 / 3)), abs=0.05)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_single_pixel_has_a_size_and_a_shape(ndim):
    found = shape_of(np.ones((1,) * ndim, bool), (2,) * ndim)
    assert all(math.isfinite(value) for value in found.values())
    assert found["area" if ndim == 2 else "volume"] == 2**ndim
    assert found["circularity" if ndim == 2 else "sphericity"] == pytest.approx(1)
    assert found["feret_max"] == pytest.approx(2 * math.sqrt(ndim))
    assert found["solidity"] == 1


def test_a_ring_has_a_hole_and_two_boundaries():
    radius = np.hypot(Y, X)
    ring = (radius <= 50) & (radius > 30)
    found = shape_of(ring, (1, 1))
    assert found["euler_number"] == 0
    assert found["perimeter"] == pytest.approx(2 * math.pi * 80, rel=0.01)
    assert found["solidity"] == pytest.approx(0.64, abs=0.02)


def test_a_ring_in_space_has_a_tunnel_and_a_shell_a_cavity():
    radius = np.sqrt(Z3**2 + Y3**2 + X3**2)
    assert euler_number((radius < 20) & (radius > 10)) == 2
    assert euler_number((np.hypot(np.hypot(Y3, X3) - 15, Z3)) < 4) == 0


@pytest.mark.parametrize("seed", range(6))
def test_plane_objects_measure_as_in_scikit_image(seed):
    mask = blob(seed=seed)
    found = shape_of(mask, (0.5, 0.5))
    peer = measure.regionprops(mask.astype(np.uint8), spacing=(0.5, 0.5))[0]
    assert found["area"] == pytest.approx(peer.area)
    assert found["perimeter"] == pytest.approx(peer.perimeter_crofton)
    assert found["euler_number"] == peer.euler_number
    assert found["extent"] == pytest.approx(peer.extent)
    assert found["equivalent_diameter"] == pytest.approx(peer.equivalent_diameter_area)
    # scikit-image takes pixels for points in the moments, and counts pixels in the hull.
    for axis in ("major", "minor"):
        theirs = getattr(peer, f"axis_{axis}_length")
        assert found[f"axis_{axis}"] == pytest.approx(4 * math.sqrt((theirs / 4) ** 2 + 0.25 / 12))
    # Theirs is counted from the rows on, and 180 degrees is 0.
    assert math.sin(math.radians(found["orientation"] - 90) - peer.orientation) == pytest.approx(0, abs=1e-9)
    assert found["solidity"] == pytest.approx(peer.solidity, rel=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_bodies_measure_as_in_scikit_image_with_spacing(seed):
    mask, spacing = blob((16, 20, 24), seed), (2.0, 0.5, 0.5)
    found = shape_of(mask, spacing)
    peer = measure.regionprops(mask.astype(np.uint8), spacing=spacing)[0]
    assert found["volume"] == pytest.approx(peer.area)
    assert found["euler_number"] == peer.euler_number
    assert found["equivalent_diameter"] == pytest.approx(peer.equivalent_diameter_area)
    values = np.sort(np.linalg.eigvalsh(peer.inertia_tensor))
    variances = values.sum() / 2 - values  # of points along the axes, longest first
    pixel = np.diag(np.array(spacing) ** 2) / 12
    tensor = np.trace(peer.inertia_tensor) / 2 * np.eye(3) - peer.inertia_tensor + pixel
    lengths = 2 * np.sqrt(5 * np.sort(np.linalg.eigvalsh(tensor))[::-1])
    assert [found[f"axis_{name}"] for name in ("major", "middle", "minor")] == pytest.approx(lengths.tolist())
    assert found["axis_major"] == pytest.approx(2 * math.sqrt(5 * variances[0]), rel=0.05)


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(*[st.integers(1, 9)] * 2)).filter(lambda m: m.any()), st.floats(0.1, 10))
def test_shape_doesn_t_depend_on_the_unit_of_length(mask, factor):
    one, other = shape_of(mask, (1, 1.5)), shape_of(mask, (factor, 1.5 * factor))
    powers = {"area": 2, "perimeter": 1, "equivalent_diameter": 1, "axis_major": 1, "axis_minor": 1, "feret_max": 1}
    powers |= {"feret_min": 1}
    for name, value in one.items():
        if name != "orientation":
            assert other[name] == pytest.approx(value * factor ** powers.get(name, 0), rel=1e-6, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(*[st.integers(1, 7)] * 3)).filter(lambda m: m.any()))
def test_turned_bodies_have_the_same_size_and_shape(mask):
    one, other = shape_of(mask, (3, 1, 2)), shape_of(np.transpose(mask, (2, 0, 1)), (2, 3, 1))
    for name, value in one.items():
        if not name.startswith("direction"):
            assert other[name] == pytest.approx(value, rel=1e-6, abs=1e-6)
    assert one["euler_number"] == measure.euler_number(mask, 3)
    assert 0 < one["solidity"] <= 1
    assert one["sphericity"] <= 1 + 1e-9


def test_no_disc_or_ball_has_less_boundary_than_its_size_allows():
    for pixels in range(1, 30):
        line = np.ones((1, pixels), bool)
        assert boundary_size(line, (1, 1)) >= 2 * math.sqrt(math.pi * pixels) - 1e-9
    assert boundary_size(np.ones((1, 200), bool), (1, 1)) == pytest.approx(2 * 200, rel=0.05)
