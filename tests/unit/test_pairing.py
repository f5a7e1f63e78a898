"""Images find their labels by name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_segnet.errors import DataError
from napari_segnet.io.pairing import file_stem, list_images, pair_files, pairing_key


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def names(pairing):
    return [(image.name, labels.name) for image, labels in pairing.pairs]


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("a.tif", "a.png"),
        ("a.tif", "a_mask.tif"),
        ("a.tif", "A-Masks.PNG"),
        ("a_img.tif", "a_labels.tif"),
        ("a_raw.ome.tif", "a_seg.nii.gz"),
        ("a.tif", "a segmentation.npy"),
        ("a.jpg", "a_gt.bmp"),
        ("a.tif", "a_ground_truth.tif"),
        ("a.tif", "a.annotation.tif"),
        ("a.tif", "a_instances.tif"),
        ("image_07.png", "label_07.png"),
        ("a_image.tif", "a_groundtruth_mask.tif"),
    ],
)
def test_names_that_go_together(tmp_path, image, labels):
    other = "zebra.tif"
    pairing = pair_files(touch(tmp_path / "i", image, other), touch(tmp_path / "l", labels))
    assert names(pairing) == [(image, labels)]
    assert [p.name for p in pairing.unpaired_images] == [other]
    assert pairing.unpaired_labels == ()


def test_what_finds_no_partner_is_listed(tmp_path):
    pairing = pair_files(
        touch(tmp_path / "i", "1.png", "2.png", "10.png", ".hidden.png", "notes.txt"),
        touch(tmp_path / "l", "10.png", "2_mask.png", "3.png"),
    )
    assert names(pairing) == [("2.png", "2_mask.png"), ("10.png", "10.png")]
    assert [p.name for p in pairing.unpaired_images] == ["1.png"]
    assert [p.name for p in pairing.unpaired_labels] == ["3.png"]


def test_one_folder_for_both(tmp_path):
    folder = touch(tmp_path, "a_raw.tif", "a_label.tif", "b.tif", "b_mask.tif", "c.tif")
    pairing = pair_files(folder, folder)
    assert names(pairing) == [("a_raw.tif", "a_label.tif"), ("b.tif", "b_mask.tif")]
    assert [p.name for p in pairing.unpaired_images] == ["c.tif"]


def test_one_folder_of_like_names(tmp_path):
    folder = touch(tmp_path, "a.tif", "b.tif")
    assert names(pair_files(folder, folder, with_itself=True)) == [("a.tif", "a.tif"), ("b.tif", "b.tif")]
    with pytest.raises(DataError, match=r"images are a\.tif, b\.tif; labels are none"):
        pair_files(folder, folder)


def test_one_file_and_one_file_are_a_pair(tmp_path):
    touch(tmp_path, "cells.tif", "drawn by Ann.png")
    assert names(pair_files(tmp_path / "cells.tif", str(tmp_path / "drawn by Ann.png"))) == [
        ("cells.tif", "drawn by Ann.png")
    ]


def test_equal_names_win_over_similar_names(tmp_path):
    images = touch(tmp_path / "i", "1.tif", "1_raw.tif")
    labels = touch(tmp_path / "l", "1.tif", "1_raw.tif")
    assert names(pair_files(images, labels)) == [("1.tif", "1.tif"), ("1_raw.tif", "1_raw.tif")]


@pytest.mark.parametrize(("first", "second"), [("a.png", "a.tif"), ("a_mask.png", "a_seg.png")])
def test_two_files_for_one_name_are_an_error(tmp_path, first, second):
    with pytest.raises(DataError, match="both stand for 'a'"):
        pair_files(touch(tmp_path / "i", "a.png"), touch(tmp_path / "l", first, second))


def test_nothing_in_common_names_what_is_there(tmp_path):
    with pytest.raises(DataError, match=r"images are a\.png, b\.png; labels are c\.png"):
        pair_files(touch(tmp_path / "i", "a.png", "b.png"), touch(tmp_path / "l", "c.png"))


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(DataError, match="There is no file or folder"):
        pair_files(tmp_path / "nowhere", tmp_path)
    with pytest.raises(DataError, match="holds no images"):
        pair_files(tmp_path, tmp_path)


def test_inputs_of_a_prediction(tmp_path):
    folder = touch(tmp_path / "f", "10.png", "9.png", "z.txt")
    zarr = touch(tmp_path / "f" / "11.ome.zarr", "zarr.json")
    single = touch(tmp_path / "g", "x.tif") / "x.tif"
    assert [p.name for p in list_images([single, folder, zarr])] == [
        "x.tif",
        "9.png",
        "10.png",
        "11.ome.zarr",
    ]
    with pytest.raises(DataError, match=r"z\.txt is of no format"):
        list_images([folder / "z.txt"])
    touch(folder, "9.tif")
    with pytest.raises(DataError, match="would both be written as '9'"):
        list_images(folder)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.ome.tif", "a"),
        ("a.nii.gz", "a"),
        ("b.c.png", "b.c"),
        ("p.ome.zarr", "p"),
        ("A.TIF", "A"),
        ("x.odd", "x"),
    ],
)
def test_stems(name, stem):
    assert file_stem(name) == stem


word = st.text(st.sampled_from("ab01_- ."), min_size=1, max_size=6).filter(lambda s: s.strip("_-. ") == s)


@given(word, st.sampled_from(["mask", "labels", "seg", "gt", "img", "raw"]), st.sampled_from("_-. "))
def test_a_word_at_the_end_never_matters(stem, suffix, joint):
    assert pairing_key(f"{stem}{joint}{suffix}.tif") == pairing_key(f"{stem}.png") != ""
