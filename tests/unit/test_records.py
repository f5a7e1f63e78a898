"""Pairs of files become records of a run folder, once their sizes agree."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_segnet.errors import DataError
from napari_segnet.io.images import open_image, open_labels
from napari_segnet.io.pairing import Pairing, pair_files
from napari_segnet.io.records import make_records


def test_records_name_files_axes_and_pixel_size(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((4, 2, 8, 9), np.uint16),
        imagej=True,
        resolution=(4, 4),
        metadata={"axes": "ZCYX", "unit": "micron", "spacing": 2},
    )
    tifffile.imwrite(tmp_path / "a_mask.tif", np.ones((4, 8, 9), np.uint8))
    (record,) = make_records(pair_files(tmp_path, tmp_path))
    assert record.name == "a"
    assert record.images == (str((tmp_path / "a.tif").resolve()),)
    assert record.labels == str((tmp_path / "a_mask.tif").resolve())
    assert (record.axes, record.pixel_size, record.units) == ("ZCYX", (2.0, 0.25, 0.25), "micrometer")
    # What a record says opens the same files again.
    assert open_image(record.images[0], record.axes).shape == (4, 2, 8, 9)
    assert open_labels(record.labels, record.axes).axes == "ZYX"


def test_axes_of_length_one_may_be_missing_in_the_labels(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 1, 8, 9), np.float32))
    Image.fromarray(np.ones((8, 9), np.uint8)).save(tmp_path / "a_mask.png")
    pairing = pair_files(tmp_path / "a.npy", tmp_path / "a_mask.png")
    assert make_records(pairing)[0].axes == "YX"
    record = make_records(pairing, "TZYX")[0]
    assert record.axes == "TZYX"
    assert open_labels(record.labels, record.axes).shape == (1, 1, 8, 9)


def test_another_size_is_an_error_that_names_both(tmp_path):
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((8, 7), np.uint8)).save(tmp_path / "a_mask.png")
    with pytest.raises(DataError, match=r"a_mask\.png doesn't fit a\.png: the labels are 8 x 7, the image is 8 x 9"):
        make_records(pair_files(tmp_path, tmp_path))


def test_turned_labels_are_named_as_such(tmp_path):
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "a_mask.png")
    with pytest.raises(DataError, match="turned by 90 degrees"):
        make_records(pair_files(tmp_path, tmp_path))


def test_images_of_one_name_in_two_folders_keep_apart(tmp_path):
    pairs = []
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
        np.save(tmp_path / day / "a.npy", np.zeros((8, 9)))
        np.save(tmp_path / day / "m.npy", np.zeros((8, 9)))
        pairs.append((tmp_path / day / "a.npy", tmp_path / day / "m.npy"))
    assert [r.name for r in make_records(Pairing(tuple(pairs)))] == ["a", "a-2"]
