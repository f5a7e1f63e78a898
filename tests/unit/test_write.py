"""Results come back from disk as they were, or the file that was there stays."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import zarr

from napari_segnet.errors import SegNetError
from napari_segnet.io.images import open_image
from napari_segnet.io.write import open_output, smallest_unsigned, write_npy, write_tiff

rng = np.random.default_rng(0)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


SHAPES = {
    "YX": (30, 40),
    "CYX": (3, 30, 40),
    "ZYX": (5, 30, 40),
    "ZCYX": (5, 3, 30, 40),
    "ZTYX": (2, 3, 30, 40),
}


@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32"])
def test_a_tiff_reads_back_with_axes_and_pixel_size(tmp_path, axes, dtype):
    array = rng.integers(0, 200, SHAPES[axes]).astype(dtype)
    size = (2.0, 0.5, 0.25) if "Z" in axes else (0.5, 0.25)
    write_tiff(tmp_path / "out" / "a.tif", array, axes, size, "micrometer")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "a.tif"), array)
    image = open_image(tmp_path / "out" / "a.tif")
    assert (image.axes, image.units) == (axes, "micrometer")
    assert image.pixel_size == pytest.approx(size)
    assert names(tmp_path / "out") == ["a.tif"]


def test_class_colours_go_along_for_fiji(tmp_path):
    labels = rng.integers(0, 3, (30, 40), np.uint8)
    write_tiff(tmp_path / "a.tif", labels, "YX", colours=["#000000", "#ff0000", "#00ff80"])
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        table = np.reshape(file.imagej_metadata["LUTs"], (3, 256))
    np.testing.assert_array_equal(table.T[:4], [[0, 0, 0], [255, 0, 0], [0, 255, 128], [255, 0, 0]])
    # Programs that know no look-up table still see the numbers.
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), labels)


@pytest.mark.parametrize("kind", ["tif", "npy", "zarr"])
def test_parts_written_one_by_one(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    expected = rng.random((2, 50, 70)).astype(np.float32)
    with open_output(path, (2, 50, 70), "float32", "CYX", kind, pixel_size=(0.5, 0.5), units="micrometer") as out:
        assert not path.exists()
        for y in range(0, 50, 20):
            out[:, y : y + 20, :] = expected[:, y : y + 20]
    image = open_image(path)
    np.testing.assert_array_equal(np.asarray(image.array[...]), expected)
    assert image.axes == "CYX"
    if kind != "npy":
        assert (image.pixel_size, image.units) == ((0.5, 0.5), "micrometer")
    assert names(tmp_path) == [path.name]


def test_ome_zarr_metadata(tmp_path):
    with open_output(
        tmp_path / "a.zarr", (3, 2000, 70), "uint8", "ZYX", "zarr", pixel_size=(2, 1, 1), units="nanometer"
    ):
        pass
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    (multiscale,) = group.attrs["ome"]["multiscales"]
    assert group.attrs["ome"]["version"] == "0.5"
    assert multiscale["axes"][0] == {"name": "z", "type": "space", "unit": "nanometer"}
    assert multiscale["datasets"][0]["coordinateTransformations"] == [{"type": "scale", "scale": [2.0, 1.0, 1.0]}]
    assert group["0"].chunks == (1, 1024, 70)


@pytest.mark.parametrize("kind", ["tif", "npy", "zarr"])
def test_after_an_error_the_earlier_file_is_still_there(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    with open_output(path, (5, 6), "uint8", "YX", kind) as out:
        out[:, :] = 7

    def fail():
        with open_output(path, (5, 6), "uint8", "YX", kind) as out:
            out[:, :] = 8
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert np.asarray(open_image(path).array[...]).tolist() == [[7] * 6] * 5
    assert names(tmp_path) == [path.name]
    with open_output(path, (5, 6), "uint8", "YX", kind) as out:
        out[:, :] = 9
    assert np.asarray(open_image(path).array[...]).tolist() == [[9] * 6] * 5


def test_numpy_files_are_replaced_whole(tmp_path):
    write_npy(tmp_path / "a.npy", np.arange(5))
    write_npy(tmp_path / "a.npy", np.arange(6))
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2, 3, 4, 5]
    assert names(tmp_path) == ["a.npy"]


def test_a_folder_with_other_things_is_never_replaced(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.txt").write_text("ten years")
    output = open_output(tmp_path / "a.zarr", (5, 6), "uint8", "YX", "zarr")
    with pytest.raises(SegNetError, match="is a folder with other things"), output:
        pass
    assert (tmp_path / "a.zarr" / "thesis.txt").read_text() == "ten years"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SegNetError, match="can't be written"):
        write_npy(tmp_path / "file" / "a.npy", np.arange(5))


def test_errors_of_the_work_inside_are_passed_on(tmp_path):
    output = open_output(tmp_path / "a.tif", (5, 6), "uint8", "YX")
    with pytest.raises(FileNotFoundError), output:
        (tmp_path / "missing").read_bytes()


FULL_DISK = """
import resource, sys, numpy as np
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
from pathlib import Path
from napari_segnet.errors import SegNetError
from napari_segnet.io.write import open_output, write_npy
path, kind = Path(sys.argv[1]), sys.argv[2]
try:
    if kind == "save":
        write_npy(path, np.ones((2000, 2000), np.uint8))
    else:
        with open_output(path, (2000, 2000), "uint8", "YX", kind) as out:
            out[:, :] = np.random.default_rng(0).integers(0, 255, (2000, 2000), np.uint8)
except SegNetError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of file sizes")
@pytest.mark.parametrize("kind", ["tif", "npy", "zarr", "save"])
def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path, kind):
    path = tmp_path / "a.out"
    answer = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path), kind],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    reasons = {os.strerror(errno.EFBIG), os.strerror(errno.ENOSPC)}
    assert any(f"{path} can't be written: {reason}. It takes 4 MB." in answer.stdout for reason in reasons)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(0, "uint8"), (255, "uint8"), (256, "uint16"), (65535, "uint16"), (65536, "uint32")],
)
def test_the_smallest_type(largest, dtype):
    assert smallest_unsigned(largest) == dtype
