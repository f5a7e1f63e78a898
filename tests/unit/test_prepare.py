"""Data sets made ready: sizes, tiles, colours and parts come out as asked for, and nothing is replaced unasked."""

import itertools
import json
import re

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_segnet.data.resampling import resample_linear
from napari_segnet.datasets import PrepareConfig, check, prepare
from napari_segnet.datasets.dividing import divide, group_images, part_sizes
from napari_segnet.datasets.geometry import Box, aspect_box, lay_out, tile_boxes
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.io.images import open_image, open_labels

rng = np.random.default_rng(0)
GREY = rng.integers(0, 256, (40, 60), np.uint8)
RGB = rng.integers(0, 256, (40, 60, 3), np.uint8)
MASK = np.kron(rng.integers(0, 4, (5, 6), np.uint8), np.ones((8, 10), np.uint8))


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, array, **options)
    else:
        Image.fromarray(array).save(path, **options)
    return path


@pytest.fixture
def data(tmp_path):
    """Eleven images, as many as imageseg's vignette divides, and their masks."""
    for number in range(11):
        image = np.clip(np.kron(np.random.default_rng(number).normal(120, 40, (8, 12)), np.ones((5, 5))), 0, 255)
        save(tmp_path / "data" / "images" / f"{number}.png", image.astype(np.uint8))
        save(tmp_path / "data" / "masks" / f"{number}_mask.png", np.roll(MASK, number, 1))
    return tmp_path / "data"


def pair(folder, image, mask=None):
    save(folder / "images" / "a.png", image)
    if mask is not None:
        save(folder / "masks" / "a.png", mask)
    return folder


def read(path):
    return np.asarray(open_image(path).array)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---------------------------------------------------------------- rectangles


@pytest.mark.parametrize(
    ("shape", "width", "height", "anchor", "expected"),
    [
        ((40, 60), 1, 1, "center", Box(0, 10, 40, 50)),
        ((40, 60), 1, 1, "left", Box(0, 0, 40, 40)),
        ((40, 60), 1, 1, "bottom-right", Box(0, 20, 40, 60)),
        ((60, 40), 1, 1, "top", Box(0, 0, 40, 40)),
        # min(4000 / 160, 3000 / 256) = 11.71875: as wide as 1875, as high as 3000
        ((3000, 4000), 160, 256, "center", Box(0, 1062, 3000, 2937)),
        ((40, 60), 3, 2, "center", Box(0, 0, 40, 60)),
    ],
)
def test_the_largest_rectangle_of_an_aspect(shape, width, height, anchor, expected):
    assert aspect_box(shape, width, height, anchor) == expected


@pytest.mark.parametrize(
    ("crop", "expected"),
    [("20x10", Box(15, 20, 25, 40)), ("20x10+3+5", Box(5, 3, 15, 23)), ("1:2", Box(0, 20, 40, 40))],
)
def test_what_is_cut_out(crop, expected):
    assert lay_out((40, 60), PrepareConfig(crop=crop), "a").kept == expected


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(2, 50), st.integers(2, 50)),
    st.integers(0, 20),
)
def test_tiles_cover_every_pixel_and_have_one_size(shape, tile, overlap):
    overlap = min(overlap, min(tile) - 1)
    boxes = list(tile_boxes(shape, tile, overlap))
    covered = np.zeros(shape, int)
    for box in boxes:
        assert box.shape == (min(shape[0], tile[0]), min(shape[1], tile[1]))
        covered[box.top : box.bottom, box.left : box.right] += 1
    assert covered.min() >= 1
    assert len(set(boxes)) == len(boxes)
    tops = sorted({box.top for box in boxes})
    assert all(b - a <= tile[0] - overlap for a, b in itertools.pairwise(tops))


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(("type_", "shape"), [("canopy", (256, 256)), ("understory", (256, 160))])
def test_the_sizes_of_imagesegs_models(tmp_path, type_, shape):
    pair(tmp_path / "d", RGB, MASK)
    prepare(tmp_path / "d", out=tmp_path / "o", type=type_)
    assert read(tmp_path / "o" / "images" / "a.tif").shape == (*shape, 3)
    assert read(tmp_path / "o" / "masks" / "a.tif").shape == shape


def test_images_get_smaller_by_averaging_and_labels_stay_labels(tmp_path):
    board = (np.indices((40, 60)).sum(axis=0) % 2 * 200).astype(np.uint8)
    pair(tmp_path / "d", board, MASK)
    prepare(tmp_path / "d", out=tmp_path / "o", scale=0.25)
    image, labels = read(tmp_path / "o" / "images" / "a.tif"), read(tmp_path / "o" / "masks" / "a.tif")
    assert image.shape == labels.shape == (10, 15)
    assert np.abs(image.astype(int) - 100).max() <= 3
    np.testing.assert_array_equal(labels, MASK[2::4, 2::4])


def test_stretching_and_cropping_to_another_aspect(tmp_path):
    pair(tmp_path / "d", GREY, MASK)
    prepare(tmp_path / "d", out=tmp_path / "crop", size="20")
    prepare(tmp_path / "d", out=tmp_path / "stretch", size="20x20", aspect="stretch")
    expected = resample_linear(GREY[np.newaxis, :, 10:50], (20, 20))[0]
    np.testing.assert_array_equal(read(tmp_path / "crop" / "images" / "a.tif"), expected)
    np.testing.assert_array_equal(read(tmp_path / "crop" / "masks" / "a.tif"), MASK[1::2, 11:50:2])
    expected = resample_linear(GREY[np.newaxis], (20, 20))[0]
    np.testing.assert_array_equal(read(tmp_path / "stretch" / "images" / "a.tif"), expected)
    np.testing.assert_array_equal(read(tmp_path / "stretch" / "masks" / "a.tif"), MASK[1::2, 1::3])


def test_images_and_labels_stay_on_top_of_each_other(tmp_path):
    big = np.kron(MASK, np.ones((7, 7), np.uint8))
    pair(tmp_path / "d", big * 60, big)
    prepare(tmp_path / "d", out=tmp_path / "o", crop="300x200+40+30", size="75x50")
    image, labels = read(tmp_path / "o" / "images" / "a.tif"), read(tmp_path / "o" / "masks" / "a.tif")
    inside = np.abs(np.gradient(image.astype(float))).sum(axis=0) == 0
    assert inside.mean() > 0.5
    np.testing.assert_array_equal(image[inside], labels[inside] * 60)


def test_the_size_of_a_pixel_grows_as_the_image_shrinks(tmp_path):
    volume = rng.integers(0, 60000, (5, 40, 60)).astype(np.uint16)
    metadata = {"axes": "ZYX", "unit": "um", "spacing": 2.0}
    save(tmp_path / "d" / "a.tif", volume, imagej=True, resolution=(2.0, 4.0), metadata=metadata)
    made = prepare(tmp_path / "d", out=tmp_path / "o", size="20x20", aspect="stretch")
    image = open_image(tmp_path / "o" / "images" / "a.tif")
    assert image.axes == "ZYX"
    assert image.shape == (5, 20, 20)
    assert image.pixel_size == pytest.approx((2.0, 0.5, 1.5))
    assert image.units == "micrometer"
    assert made.files[0].pixel_size == pytest.approx((2.0, 0.5, 1.5))


# ---------------------------------------------------------------- tiles


def test_tiles_are_named_by_their_place_and_are_parts_of_the_image(tmp_path):
    pair(tmp_path / "d", RGB, MASK)
    made = prepare(tmp_path / "d", out=tmp_path / "o", tile="24x16", overlap=4, format="png")
    names = [file.image for file in made.files]
    assert names[:3] == [f"images/a_y0000_x00{x}.png" for x in ("00", "20", "36")]
    assert len(names) == 9
    for file in made.files:
        top, left, bottom, right = map(int, file.box)
        assert f"_y{top:04d}_x{left:04d}" in file.image
        np.testing.assert_array_equal(read(tmp_path / "o" / file.image), RGB[top:bottom, left:right])
        np.testing.assert_array_equal(read(tmp_path / "o" / file.labels), MASK[top:bottom, left:right])


def test_tiles_of_a_resized_image_know_where_they_come_from(tmp_path):
    pair(tmp_path / "d", GREY)
    made = prepare(tmp_path / "d", out=tmp_path / "o", scale=2, tile="60")
    assert [file.box for file in made.files] == [(0, 0, 30, 30), (0, 30, 30, 60), (10, 0, 40, 30), (10, 30, 40, 60)]


def test_tiles_with_few_labels_are_left_out(tmp_path):
    mask = np.zeros((40, 60), np.uint8)
    mask[:20, :20] = 1
    mask[20, 20] = 1
    pair(tmp_path / "d", GREY, mask)
    made = prepare(tmp_path / "d", out=tmp_path / "o", tile="20", min_labelled=0.01)
    assert [file.image for file in made.files] == ["images/a_y0000_x0000.tif"]
    assert made.notes == ("5 tiles with too few labels left out.",)
    assert sorted(contents(tmp_path / "o")) == [
        "images/a_y0000_x0000.tif", "masks/a_y0000_x0000.tif", "prepare.json"
    ]  # fmt: skip


# ---------------------------------------------------------------- colours and types


def test_grey_and_rgb(tmp_path):
    pair(tmp_path / "d", RGB)
    save(tmp_path / "d" / "images" / "b.png", GREY)
    prepare(tmp_path / "d", out=tmp_path / "grey", colour="grey")
    expected = np.round(RGB.astype(float) @ [0.2126, 0.7152, 0.0722])
    found = read(tmp_path / "grey" / "images" / "a.tif")
    assert np.abs(found - expected).max() <= 1
    assert (found == expected).mean() > 0.99
    np.testing.assert_array_equal(read(tmp_path / "grey" / "images" / "b.tif"), GREY)
    prepare(tmp_path / "d", out=tmp_path / "rgb", colour="rgb")
    np.testing.assert_array_equal(read(tmp_path / "rgb" / "images" / "a.tif"), RGB)
    np.testing.assert_array_equal(read(tmp_path / "rgb" / "images" / "b.tif"), np.stack([GREY] * 3, 2))


def test_any_program_sees_the_colours_of_a_prepared_photograph(tmp_path):
    pair(tmp_path / "d", RGB)
    prepare(tmp_path / "d", out=tmp_path / "o")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "o" / "images" / "a.tif")), RGB)


def test_eight_bits_by_percentiles(tmp_path):
    deep = rng.integers(1000, 50000, (40, 60)).astype(np.uint16)
    save(tmp_path / "d" / "a.tif", deep)
    save(tmp_path / "d" / "b.tif", GREY)
    prepare(tmp_path / "d", out=tmp_path / "o", bits=8, percentiles=(2, 90))
    low, high = np.percentile(deep, (2, 90))
    expected = np.round(255 * ((deep - low) / (high - low)).clip(0, 1))
    np.testing.assert_array_equal(read(tmp_path / "o" / "images" / "a.tif"), expected)
    np.testing.assert_array_equal(read(tmp_path / "o" / "images" / "b.tif"), GREY)  # is of 8 bit


def test_colours_share_their_limits_and_markers_dont(tmp_path):
    deep = (RGB.astype(np.uint16) * np.array([10, 50, 200])).astype(np.uint16)
    save(tmp_path / "d" / "colours.tif", deep, photometric="rgb")
    save(tmp_path / "d" / "markers.tif", deep.transpose(2, 0, 1), metadata={"axes": "CYX"}, photometric="minisblack")
    prepare(tmp_path / "d", out=tmp_path / "o", bits=8, percentiles=(0, 100))
    colours = read(tmp_path / "o" / "images" / "colours.tif")
    assert np.abs(colours[..., 0] / 255 - deep[..., 0] / deep.max()).max() < 0.003
    markers = np.asarray(open_image(tmp_path / "o" / "images" / "markers.tif").array)
    assert markers.shape == (3, 40, 60)
    assert markers.min(axis=(1, 2)).tolist() == [0, 0, 0]
    assert markers.max(axis=(1, 2)).tolist() == [255, 255, 255]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("axes", ["YX", "CYX", "ZYX", "TCYX"])
def test_pixels_are_kept_where_nothing_is_asked_for(tmp_path, dtype, axes):
    lengths = {"Y": 40, "X": 60, "C": 2, "Z": 7, "T": 6}
    array = rng.integers(0, 100, [lengths[letter] for letter in axes])
    save(tmp_path / "d" / "a.tif", array.astype(dtype), metadata={"axes": axes}, photometric="minisblack")
    prepare(tmp_path / "d", out=tmp_path / "o", axes=axes)
    image = open_image(tmp_path / "o" / "images" / "a.tif")
    assert image.axes == axes
    np.testing.assert_array_equal(image.array, array)
    assert image.array.dtype == (np.float32 if dtype is np.float64 else dtype)


def test_sixteen_bit_colours_as_png(tmp_path):
    deep = RGB.astype(np.uint16) * 200
    save(tmp_path / "d" / "a.tif", deep, photometric="rgb")
    prepare(tmp_path / "d", out=tmp_path / "o", format="png")
    np.testing.assert_array_equal(read(tmp_path / "o" / "images" / "a.png"), deep)


# ---------------------------------------------------------------- labels


def test_values_are_replaced_all_at_once(tmp_path):
    pair(tmp_path / "d", GREY, MASK)
    prepare(tmp_path / "d", out=tmp_path / "o", relabel={1: 2, 2: 1, 3: 255})
    expected = np.array([0, 2, 1, 255], np.uint8)[MASK]
    np.testing.assert_array_equal(read(tmp_path / "o" / "masks" / "a.tif"), expected)


def test_blurred_masks_and_probabilities_are_cut_at_a_threshold(tmp_path):
    truth = (MASK > 1).astype(np.uint8)
    save(tmp_path / "d" / "images" / "a.png", GREY)
    save(tmp_path / "d" / "masks" / "a.jpg", truth * 255, quality=60)
    with pytest.raises(DataError, match="its compression has changed the labels"):
        prepare(tmp_path / "d", out=tmp_path / "o")
    prepare(tmp_path / "d", out=tmp_path / "o", threshold=128)
    np.testing.assert_array_equal(read(tmp_path / "o" / "masks" / "a.tif"), truth)
    (tmp_path / "d" / "masks" / "a.jpg").unlink()
    save(tmp_path / "d" / "masks" / "a.tif", np.where(truth, 0.8, 0.3).astype(np.float32))
    prepare(tmp_path / "d", out=tmp_path / "o", threshold=0.5, overwrite=True)
    np.testing.assert_array_equal(read(tmp_path / "o" / "masks" / "a.tif"), truth)


def test_the_class_file_goes_along_unless_values_change_their_meaning(tmp_path):
    pair(tmp_path / "d", GREY, MASK)
    text = '{"0": {"name": "ground", "colour": "#000000"}}'
    (tmp_path / "d" / "masks" / "classes.json").write_text(text)
    prepare(tmp_path / "d", out=tmp_path / "o")
    assert (tmp_path / "o" / "masks" / "classes.json").read_text() == text
    made = prepare(tmp_path / "d", out=tmp_path / "p", relabel={1: 0})
    assert made.notes == ("classes.json is left out: the values mean something else now.",)
    assert not (tmp_path / "p" / "masks" / "classes.json").exists()


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize(
    ("count", "val", "test", "expected"),
    [
        (11, 0.1, 0.2, (1, 2)),  # imageseg's vignette: 2 test images, 1 for validation
        (763, 0.1, 0.2, (76, 152)),  # and 152 of 763
        (10, 0.3, 0.3, (3, 3)),
        (4, 0.1, 0.1, (1, 1)),
        (100, 0.29, 0, (29, 0)),
    ],
)
def test_parts_are_as_large_as_imageseg_makes_them(count, val, test, expected):
    assert part_sizes(count, val, test) == expected


def test_images_are_divided_with_a_seed(data, tmp_path):
    made = prepare(data, out=tmp_path / "a", val_fraction=0.1, test_fraction=0.2)
    assert made.parts == {"train": 8, "val": 1, "test": 2}
    prepare(data, out=tmp_path / "b", val_fraction=0.1, test_fraction=0.2)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    parts = set()
    for seed in range(3):
        made = prepare(data, out=tmp_path / f"s{seed}", val_fraction=0.1, test_fraction=0.2, seed=seed)
        parts.add(tuple(file.part for file in made.files))
    assert len(parts) > 1
    report = check(tmp_path / "a")
    assert report.failed == ()
    assert len(report.images) == 11


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 8), min_size=3, max_size=40),
    st.floats(0.05, 0.45),
    st.floats(0.05, 0.45),
    st.integers(0, 99),
)
def test_a_group_is_never_divided_and_no_part_is_empty(groups, val, test, seed):
    counts = [{0: 5, 1: n % 3} for n in range(len(groups))]
    if len(set(groups)) < 3:
        with pytest.raises(DataError, match="can't be divided into 3 parts"):
            divide(groups, counts, val, test, seed)
        return
    parts = divide(groups, counts, val, test, seed)
    assert set(parts) == {"train", "val", "test"}
    for group in set(groups):
        assert len({part for part, of in zip(parts, groups, strict=True) if of == group}) == 1
    assert parts == divide(groups, counts, val, test, seed)


def test_each_class_is_in_each_part_where_that_is_possible():
    counts = [{0: 100, 1: 10 if n in (3, 11, 17) else 0} for n in range(20)]
    for seed in range(5):
        parts = divide(range(20), counts, 0.1, 0.2, seed)
        assert {parts[n] for n in (3, 11, 17)} == {"train", "val", "test"}


def test_names_with_the_same_match_and_lookalikes_are_groups():
    names = ["p1_a", "p1_b", "p2_a", "p3_a", "other"]
    assert group_images(names, r"^(p\d)_", []) == [0, 0, 2, 3, 4]
    assert group_images(names, r"p\d", [[1, 3]]) == [0, 0, 2, 0, 4]
    assert group_images(names, None, []) == [0, 1, 2, 3, 4]


def test_copies_stay_in_one_part_unless_that_is_asked_for(tmp_path):
    for number in range(8):
        image = np.kron(np.random.default_rng(number % 4).normal(120, 40, (8, 12)), np.ones((5, 5))).clip(0, 250)
        save(tmp_path / "d" / f"{number}.png", (image * (0.9 if number > 3 else 1)).astype(np.uint8))
    for seed in range(5):
        made = prepare(tmp_path / "d", out=tmp_path / f"o{seed}", val_fraction=0.25, seed=seed)
        parts = [file.part for file in made.files]
        assert parts[:4] == parts[4:]
        assert "8 images look like another one, such as 0 and 4: they stay in one part." in made.notes
        assert [file.group for file in made.files] == ["0", "1", "2", "3"] * 2
    divided = [
        prepare(tmp_path / "d", out=tmp_path / f"p{seed}", val_fraction=0.25, seed=seed, alike="anywhere").files
        for seed in range(5)
    ]
    assert any([f.part for f in files[:4]] != [f.part for f in files[4:]] for files in divided)


def test_parts_that_are_there_stay_what_they_are(data, tmp_path):
    prepare(data, out=tmp_path / "a", val_fraction=0.2)
    made = prepare(tmp_path / "a", out=tmp_path / "b", scale=0.5)
    assert made.parts == {"train": 9, "val": 2}
    with pytest.raises(ConfigError, match="are divided already, into train, val"):
        prepare(tmp_path / "a", out=tmp_path / "c", test_fraction=0.2)


# ---------------------------------------------------------------- the manifest


def test_the_manifest_says_what_came_from_where(data, tmp_path):
    made = prepare(data, out=tmp_path / "o", crop="30x20+10+5", scale=0.5, seed=3, val_fraction=0.2)
    tree = json.loads((tmp_path / "o" / "prepare.json").read_text())
    assert tree["complete"] is True
    assert tree["options"]["crop"] == "30x20+10+5"
    assert tree["options"]["seed"] == 3
    entry = next(e for e in tree["files"] if e["image"].endswith("/7.tif"))
    assert entry["source"] == str((data / "images" / "7.png").resolve())
    assert entry["source_labels"] == str((data / "masks" / "7_mask.png").resolve())
    assert entry["box"] == [5, 10, 25, 40]
    assert entry["shape"] == [10, 15]
    assert {(tmp_path / "o" / f.image).exists() for f in made.files} == {True}


def test_an_earlier_result_is_only_replaced_when_asked_for_and_leaves_nothing_behind(data, tmp_path):
    prepare(data, out=tmp_path / "o", val_fraction=0.2)
    before = contents(tmp_path / "o")
    with pytest.raises(DataError, match=r"holds what was prepared before\. .*--overwrite"):
        prepare(data, out=tmp_path / "o")
    assert contents(tmp_path / "o") == before
    prepare(data, out=tmp_path / "o", tile="20", overwrite=True)
    prepare(data, out=tmp_path / "new", tile="20")
    assert contents(tmp_path / "o") == contents(tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["images", "masks", "prepare.json"]


def test_other_things_in_the_folder_are_never_touched(data, tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(DataError, match="holds other things"):
            prepare(data, out=tmp_path / "o", overwrite=overwrite)
    prepare(data, out=tmp_path / "p")
    (tmp_path / "p" / "images" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"thesis\.txt was not made by an earlier prepare"):
        prepare(data, out=tmp_path / "p", overwrite=True)
    assert (tmp_path / "p" / "images" / "0.tif").exists()


def test_a_manifest_that_names_files_elsewhere_removes_nothing_there(data, tmp_path):
    prepare(data, out=tmp_path / "o")
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    path = tmp_path / "o" / "prepare.json"
    tree = json.loads(path.read_text())
    tree["others"] = ["../victim.txt", str(victim)]
    path.write_text(json.dumps(tree))
    prepare(data, out=tmp_path / "o", overwrite=True)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', "[" * 100_000])
def test_a_damaged_manifest_is_said(data, tmp_path, text):
    prepare(data, out=tmp_path / "o")
    (tmp_path / "o" / "prepare.json").write_text(text)
    with pytest.raises(DataError, match=r"prepare\.json is damaged"):
        prepare(data, out=tmp_path / "o", overwrite=True)


def test_what_was_cut_off_can_be_replaced(data, tmp_path):
    def stop(done, _total):
        if done == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(data, out=tmp_path / "o", on_progress=stop)
    assert json.loads((tmp_path / "o" / "prepare.json").read_text())["complete"] is False
    prepare(data, out=tmp_path / "o", overwrite=True)
    prepare(data, out=tmp_path / "p")
    assert contents(tmp_path / "o") == contents(tmp_path / "p")


def test_images_are_never_replaced_by_what_is_made_of_them(data):
    with pytest.raises(DataError, match="holds other things"):
        prepare(data / "images", out=data / "images")
    prepare(data, out=data / "made")
    with pytest.raises(DataError, match="is in the folder that is to be written"):
        prepare(data / "made", out=data / "made", scale=0.5, overwrite=True)
    assert read(data / "made" / "images" / "0.tif").shape == (40, 60)


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({"size": "0"}, ConfigError, "size = '0': write WIDTHxHEIGHT"),
        ({"size": "64", "scale": 0.5}, ConfigError, "size and scale both say how large"),
        ({"type": "sky"}, ConfigError, "'canopy' or 'understory'"),
        ({"crop": "9"}, ConfigError, "crop = '9': write"),
        ({"crop": "61x10"}, DataError, "is 60 x 40 pixels (width x height): 61 x 10 can't be cut out of it"),
        ({"crop": "9x9+55+0"}, DataError, "9 x 9 from column 55, row 0 on can't be cut out"),
        ({"overlap": 5}, ConfigError, "overlap does nothing without tile"),
        ({"tile": "20", "overlap": 20}, ConfigError, "Tiles of 20 can't overlap by 20 pixels"),
        ({"anchor": "top"}, ConfigError, "anchor does nothing without crop"),
        ({"percentiles": (1, 99)}, ConfigError, "percentiles does nothing without bits 8"),
        ({"bits": 8, "percentiles": (9, 1)}, ConfigError, "The percentiles are 9 and 1"),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, ConfigError, "leave nothing to learn from"),
        ({"val_fraction": 0.2, "group": "("}, ConfigError, "no regular expression"),
        (
            {"val_fraction": 0.2, "group": "^"},
            DataError,
            "11 images that make up 1 group can't be divided into 2 parts",
        ),
        ({"relabel": {1: -1}}, ConfigError, "not -1"),
        ({"colour": "blue"}, ConfigError, "'keep', 'grey' or 'rgb'"),
        ({"tyle": "20"}, ConfigError, "There is no option 'tyle'"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_written(data, tmp_path, options, kind, sentence):
    with pytest.raises(kind, match=re.escape(sentence)):
        prepare(data, out=tmp_path / "o", **options)
    assert not (tmp_path / "o").exists()


def cut_short(data):
    path = data / "images" / "5.png"
    path.write_bytes(path.read_bytes()[:100])


def wrong_size(data):
    save(data / "masks" / "5_mask.png", MASK[:30])


def five_channels(data):
    save(data / "images" / "5.tif", np.stack([GREY] * 5), metadata={"axes": "CYX"}, photometric="minisblack")
    (data / "images" / "5.png").unlink()


@pytest.mark.parametrize(
    ("mistake", "options", "sentence"),
    [
        (cut_short, {}, r"5\.png can't be read"),
        (wrong_size, {}, r"the labels are 30 x 60, the image is 40 x 60"),
        (five_channels, {"colour": "grey"}, r"has 5 channels, which can't become grey"),
        (five_channels, {"format": "png"}, r"5 channels, which PNG can't hold"),
    ],
)
def test_data_that_make_no_sense_are_refused_before_anything_is_written(data, tmp_path, mistake, options, sentence):
    mistake(data)
    with pytest.raises(DataError, match=sentence):
        prepare(data, out=tmp_path / "o", **options)
    assert not (tmp_path / "o").exists()


def test_two_images_of_one_name(tmp_path):
    save(tmp_path / "d" / "a.png", GREY)
    save(tmp_path / "d" / "A.tif", GREY)
    with pytest.raises(DataError, match="would both be written as 'A'"):
        prepare(tmp_path / "d", out=tmp_path / "o")


@pytest.mark.parametrize("options", [{"threshold": 3}, {"relabel": {1: 2}}, {"tile": "20", "min_labelled": 0.1}])
def test_options_of_labels_need_labels(tmp_path, options):
    save(tmp_path / "d" / "a.png", GREY)
    with pytest.raises(ConfigError, match="does nothing without labels"):
        prepare(tmp_path / "d", out=tmp_path / "o", **options)


def test_what_has_no_partner_is_left_out_and_said(data, tmp_path):
    (data / "masks" / "5_mask.png").unlink()
    save(data / "masks" / "other.png", MASK)
    made = prepare(data, out=tmp_path / "o")
    assert len(made.files) == 10
    assert len(made.notes) == 2
    assert "other.png has no image" in made.notes[0]
    assert "5.png has no labels" in made.notes[1]


# ---------------------------------------------------------------- other formats in


def test_a_volume_with_labels_keeps_its_planes(tmp_path):
    volume = rng.integers(0, 200, (9, 40, 60)).astype(np.uint8)
    save(tmp_path / "d" / "images" / "a.tif", volume)
    save(tmp_path / "d" / "masks" / "a.tif", np.stack([MASK] * 9))
    prepare(tmp_path / "d", out=tmp_path / "o", tile="30", scale=0.5)
    labels = open_labels(tmp_path / "o" / "masks" / "a_y0000_x0000.tif")
    assert labels.axes == "ZYX"
    np.testing.assert_array_equal(labels.array, np.stack([MASK[1::2, 1::2]] * 9))


def test_black_and_white_becomes_0_and_255(tmp_path):
    save(tmp_path / "d" / "a.png", GREY > 100)
    prepare(tmp_path / "d", out=tmp_path / "o", format="png")
    np.testing.assert_array_equal(read(tmp_path / "o" / "images" / "a.png"), (GREY > 100) * 255)
