"""NRRD files of pynrrd open with the right axes and sizes, and damaged or hostile ones with a sentence."""

import nrrd
import numpy as np
import pytest

from napari_segnet.errors import DataError
from napari_segnet.io.images import open_image, open_labels
from napari_segnet.io.pairing import pair_files

rng = np.random.default_rng(0)
VOLUME = rng.integers(-900, 2000, (6, 20, 30)).astype(np.int16)  # ZYX
SLICER = {
    "space": "left-posterior-superior",
    "kinds": ["domain", "domain", "domain"],
    "space directions": np.array([[0, 0.5, 0], [0.6, 0, 0], [0, 0, -2.5]]),
    "space origin": np.zeros(3),
}


def write(path, array, header=None, **options):
    nrrd.write(str(path), array, header or {}, index_order="C", **options)
    return path


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr"])
def test_a_volume_of_slicer(tmp_path, encoding, name):
    image = open_image(write(tmp_path / name, VOLUME, SLICER | {"encoding": encoding}))
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.array, VOLUME)
    assert image.pixel_size == pytest.approx((2.5, 0.6, 0.5))
    assert image.units == "millimeter"


def test_a_raw_volume_stays_on_the_disk(tmp_path):
    array = open_image(write(tmp_path / "a.nrrd", VOLUME, {"encoding": "raw"})).array
    assert isinstance(array, np.memmap) or isinstance(array.base, np.memmap)


@pytest.mark.parametrize(
    ("header", "size", "units"),
    [
        ({"spacings": [0.2, 0.3, 1.5]}, (1.5, 0.3, 0.2), None),
        ({"spacings": [0.2, 0.3, 1.5], "units": ["um", "um", "um"]}, (1.5, 0.3, 0.2), "micrometer"),
        (SLICER | {"space units": ["um", "um", "um"]}, (2.5, 0.6, 0.5), "micrometer"),
        (SLICER | {"space": "scanner-xyz"}, (2.5, 0.6, 0.5), None),
        ({"spacings": [1.0, 1.0, 1.0]}, None, None),
        ({}, None, None),
    ],
)
def test_spacing_and_units_as_far_as_the_header_says_them(tmp_path, header, size, units):
    image = open_image(write(tmp_path / "a.nrrd", VOLUME, header))
    assert image.axes == "ZYX"
    assert image.pixel_size == (pytest.approx(size) if size else None)
    assert image.units == units


@pytest.mark.parametrize(
    ("shape", "header", "axes"),
    [
        ((20, 30), {}, "YX"),
        ((20, 30), {"kinds": ["domain", "domain"]}, "YX"),
        ((20, 30, 3), {"kinds": ["RGB-color", "domain", "domain"]}, "YXC"),
        ((20, 30, 3), {}, "YXC"),
        ((5, 20, 30, 3), {"kinds": ["vector", "space", "space", "space"]}, "ZYXC"),
        ((7, 5, 20, 30), {"kinds": ["space", "space", "space", "time"]}, "TZYX"),
        ((5, 20, 30, 7), {"kinds": ["list", "domain", "domain", "domain"]}, "ZYXT"),
    ],
)
def test_kinds_say_what_the_axes_are(tmp_path, shape, header, axes):
    array = rng.integers(0, 200, shape).astype(np.uint8)
    image = open_image(write(tmp_path / "a.nrrd", array, header))
    assert image.axes == axes
    np.testing.assert_array_equal(image.array, array)


def test_channels_have_no_place_in_space(tmp_path):
    directions = np.vstack([[np.nan] * 3, np.diag([0.1, 0.2, 0.3])])
    kinds = ["vector", "domain", "domain", "domain"]
    header = {"space dimension": 3, "space directions": directions, "kinds": kinds, "space units": ["mm"] * 3}
    image = open_image(write(tmp_path / "a.nrrd", np.zeros((4, 5, 6, 2), np.float32), header))
    assert image.axes == "ZYXC"
    assert image.pixel_size == pytest.approx((0.3, 0.2, 0.1))


def test_big_endian_numbers(tmp_path):
    image = open_image(write(tmp_path / "a.nrrd", VOLUME.astype(">i2"), {"encoding": "raw", "endian": "big"}))
    np.testing.assert_array_equal(image.array, VOLUME)


def test_bytes_and_lines_before_the_data_are_skipped(tmp_path):
    header = "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 3 2\nencoding: raw\ndata file: a.dat\n"
    (tmp_path / "a.dat").write_bytes(b"a line\nxx" + bytes(range(6)))
    (tmp_path / "a.nhdr").write_text(header + "line skip: 1\nbyte skip: 2\n\n")
    assert open_image(tmp_path / "a.nhdr").array.tolist() == [[0, 1, 2], [3, 4, 5]]
    (tmp_path / "a.nhdr").write_text(header + "byte skip: -1\n\n")
    assert open_image(tmp_path / "a.nhdr").array.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_labels_go_with_their_image(tmp_path):
    (tmp_path / "i").mkdir()
    (tmp_path / "l").mkdir()
    write(tmp_path / "i" / "case1.nrrd", VOLUME)
    write(tmp_path / "l" / "case1.seg.nrrd", (VOLUME > 0).astype(np.int16))
    (pair,) = pair_files(tmp_path / "i", tmp_path / "l").pairs
    labels = open_labels(pair[1])
    np.testing.assert_array_equal(labels.array, VOLUME > 0)
    assert labels.array.dtype == np.uint8


# ---------------------------------------------------------------- what can't be opened


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
def test_a_cut_file_never_opens_in_part(tmp_path, encoding):
    data = write(tmp_path / "a.nrrd", VOLUME, {"encoding": encoding}).read_bytes()
    for keep in (0.9, 0.5, 0.01):
        (tmp_path / "a.nrrd").write_bytes(data[: int(len(data) * keep)])
        with pytest.raises(DataError, match=r"a\.nrrd"):
            open_image(tmp_path / "a.nrrd")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ("data file: missing.raw", r"missing\.raw, which is not there"),
        ("data file: ../secret.raw", r"secret\.raw, which is not beside it"),
        ("data file: a%03d.raw 0 5 1", "spread over several files"),
        ("type: block", "values of type 'block'"),
        ("encoding: zrl", "encoded as 'zrl'"),
        ("sizes: 4 0", r"sizes \[4, 0\]"),
        ("sizes: 4", r"sizes \[4\]"),
        ("sizes: four two", r"can't be read"),
        ("no colon", r"can't be read"),
    ],
)
def test_headers_that_make_no_sense(tmp_path, changed, sentence):
    (tmp_path / "secret.raw").write_bytes(bytes(8))
    folder = tmp_path / "x"
    folder.mkdir()
    lines = {"type": "uint8", "dimension": "2", "sizes": "4 2", "encoding": "raw"}
    name, _, value = changed.partition(": ")
    lines[name] = value
    text = "".join(f"{key}: {value}\n" if value else f"{key}\n" for key, value in lines.items())
    (folder / "a.nhdr").write_bytes(b"NRRD0004\n" + text.encode() + b"\n" + bytes(8))
    with pytest.raises(DataError, match=sentence):
        open_image(folder / "a.nhdr")


def test_a_small_file_that_unpacks_to_much_is_read_as_far_as_its_header_says(tmp_path):
    write(tmp_path / "a.nrrd", np.zeros(50_000_000, np.uint8).reshape(5000, 10_000), {"encoding": "gzip"})
    data = (tmp_path / "a.nrrd").read_bytes()
    assert len(data) < 100_000
    (tmp_path / "a.nrrd").write_bytes(data.replace(b"sizes: 10000 5000", b"sizes: 100 5"))
    assert open_image(tmp_path / "a.nrrd").shape == (5, 100)
