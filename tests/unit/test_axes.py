"""Which axis is which, and planes that are read only where they are sliced."""

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segnet.axes import LazyView, check_axes, guess_axes, to_stack, view
from napari_segnet.errors import DataError


@pytest.mark.parametrize(
    ("shape", "dtype", "hint", "axes"),
    [
        ((64, 80), "uint8", None, "YX"),
        ((64, 80, 3), "uint8", None, "YXC"),
        ((64, 80, 4), "uint16", None, "YXC"),
        ((3, 64, 80), "uint8", None, "CYX"),
        ((10, 64, 80), "uint8", None, "ZYX"),
        ((10, 64, 3), "float32", None, "ZYX"),
        ((10, 64, 80, 3), "uint8", None, "ZYXC"),
        ((10, 2, 64, 80), "uint8", None, "ZCYX"),
        ((7, 10, 64, 80), "uint8", None, "TZYX"),
        ((7, 10, 2, 64, 80), "uint8", None, "TZCYX"),
        ((64, 80, 3), "uint8", "YXS", "YXC"),
        ((20, 64, 80), "uint8", "?YX", "ZYX"),
        ((3, 64, 80), "uint8", "ZYX", "ZYX"),
        ((9, 3, 64, 80), "uint8", "T?YX", "TCYX"),
        ((64, 80), "uint8", "ZYX", "YX"),  # a hint of another length says nothing
    ],
)
def test_guesses(shape, dtype, hint, axes):
    assert guess_axes(shape, dtype, hint) == axes


def test_labels_have_no_channels():
    assert guess_axes((3, 64, 80), "uint8", channels=False) == "ZYX"
    assert guess_axes((64, 80, 3), "uint8", channels=False) == "ZYX"


@pytest.mark.parametrize("shape", [(5,), (1, 2, 3, 4, 5, 6)])
def test_an_array_that_is_no_image_is_refused(shape):
    with pytest.raises(DataError, match="is no image"):
        guess_axes(shape, "uint8")


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [("ZZYX", "are no axes"), ("QYX", "are no axes"), ("ZX", "are no axes"), ("YX", "don't fit")],
)
def test_wrong_axes_are_explained(axes, sentence):
    with pytest.raises(DataError, match=sentence):
        check_axes(axes, (2, 3, 4))


@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=5),
    st.sampled_from(["uint8", "uint16", "float32", "bool"]),
    st.text("TZCYXSQI?", max_size=5),
    st.booleans(),
)
def test_a_guess_always_fits(shape, dtype, hint, channels):
    axes = guess_axes(tuple(shape), dtype, hint, channels=channels)
    assert check_axes(axes, tuple(shape)) == axes


class Counting:
    """An array-like that notes how many elements were read."""

    def __init__(self, array):
        self.array, self.read = array, 0
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key):
        part = self.array[key]
        self.read += part.size
        return part


all_axes = st.permutations("TZCYX").flatmap(
    lambda letters: st.sets(st.sampled_from("TZC")).map(
        lambda left_out: "".join(a for a in letters if a not in left_out)
    )
)
part = st.one_of(
    st.integers(-2, 1),
    st.builds(slice, *[st.one_of(st.none(), st.integers(-7, 7))] * 2, st.sampled_from([None, 1, 2, -1, -3])),
)


def reference(array, axes):
    """Return (N, C, Y, X) by plain numpy."""
    leading = "".join(a for a in axes if a in "TZ")
    if "C" not in axes:
        array, axes = array[..., None], axes + "C"
    array = array.transpose([axes.index(a) for a in leading + "CYX"])
    return array.reshape(-1, *array.shape[-3:])


@settings(max_examples=150, deadline=None)
@given(all_axes, st.tuples(*[st.integers(2, 5)] * 5), st.tuples(part, part, part))
def test_planes_are_those_of_the_image_whatever_its_axes(axes, lengths, key):
    shape = lengths[: len(axes)]
    array = np.arange(np.prod(shape)).reshape(shape)
    expected = reference(array, axes)
    for source in (array, Counting(array)):
        planes = to_stack(source, axes)
        assert len(planes) == len(expected)
        for i, plane in enumerate(expected):
            np.testing.assert_array_equal(np.asarray(planes[i]), plane)
            if not (isinstance(key[0], int) and planes.channels == 1):
                np.testing.assert_array_equal(planes[i][key], plane[key])


def test_results_go_back_to_the_leading_axes():
    array = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    planes = to_stack(array, "ZTCYX")
    assert (planes.leading_axes, planes.leading, planes.item_shape, planes.channels) == (
        "ZT",
        (2, 3),
        (5, 6),
        4,
    )
    means = np.array([np.asarray(plane).mean(0) for plane in planes]).reshape(*planes.leading, *planes.item_shape)
    np.testing.assert_allclose(means, array.mean(2))
    assert planes.index(4) == (1, 1)


def test_a_single_plane_has_no_leading_axes():
    planes = to_stack(np.zeros((5, 6)), "YX")
    assert (len(planes), planes.leading, planes.index(0), planes[0].shape) == (1, (), (), (1, 5, 6))


def test_only_the_slice_is_read():
    source = Counting(np.zeros((10, 100, 100, 3)))
    plane = to_stack(source, "ZYXC")[4]
    assert plane[:, 10:20, 30:40].shape == (3, 10, 10)
    assert source.read == 300


@pytest.mark.parametrize("kind", ["zarr", "dask"])
def test_zarr_and_dask_arrays_give_numpy_blocks(kind, tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (4, 20, 30), np.uint8)
    if kind == "zarr":
        source = zarr.create_array(tmp_path / "a.zarr", data=array, chunks=(1, 8, 8))
    else:
        source = da.from_array(array, chunks=(1, 8, 8))
    block = to_stack(source, "ZYX")[2][:, ::-3, 5:9]
    assert type(block) is np.ndarray
    np.testing.assert_array_equal(block, array[2:3, ::-3, 5:9])


def test_numpy_arrays_are_not_copied():
    array = np.zeros((4, 20, 30), np.uint8)
    assert np.shares_memory(to_stack(array, "ZYX")[1], array)
    assert np.shares_memory(view(array, "CYX", "YXC", stop={"C": 3}), array)
    assert view(array, "CYX", "YXC", stop={"C": 3}).shape == (20, 30, 3)


def test_a_lazy_view_takes_what_numpy_takes():
    array = np.arange(60).reshape(3, 4, 5)
    lazy = LazyView(array, "ZYX", "ZYX")
    np.testing.assert_array_equal(lazy[..., 1], array[..., 1])
    np.testing.assert_array_equal(lazy[array > 30], array[array > 30])
    np.testing.assert_array_equal(np.asarray(lazy, np.float32), array.astype(np.float32))
    assert len(lazy) == 3
    for key in (3, (0, 0, 5), (0, 0, 0, 0)):
        with pytest.raises(IndexError):
            lazy[key]
