"""Objects cut out of pictures: soft edges, backgrounds, crops, and PNG files that other programs read."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from napari_segnet.errors import ConfigError, DataError, SegNetError
from napari_segnet.measure import CutOutOptions, cut_out, cut_out_files, cutting
from napari_segnet.measure.alpha import opacity
from napari_segnet.measure.pictures import Picture, read_backdrop
from napari_segnet.measure.png import write_png

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(1, 256, (40, 60, 3)).astype(np.uint8)
LABELS = np.zeros((40, 60), np.uint8)
LABELS[10:30, 20:50] = 1


def hard(**changes):
    return CutOutOptions(feather=0, **changes)


def test_a_hard_cut_keeps_colours_inside_and_nothing_outside():
    pixels = cut_out(COLOURS, LABELS, hard())
    assert pixels.shape == (40, 60, 4)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels[..., 3], LABELS * 255)
    assert np.array_equal(pixels[..., :3], COLOURS * LABELS[..., None])


def test_a_soft_edge_is_a_ramp_as_wide_as_asked():
    alpha = opacity(LABELS > 0, CutOutOptions(feather=4))
    # Across the left edge, between columns 19 and 20: pixel centres are 0.5, 1.5 ... from it.
    assert alpha[20, 16:24].tolist() == pytest.approx([0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])
    moved = opacity(LABELS > 0, CutOutOptions(feather=4, shrink=2))
    assert moved[20, 18:26].tolist() == pytest.approx([0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])


def test_an_edge_of_the_image_is_no_edge_of_the_object():
    mask = np.zeros((10, 20), bool)
    mask[:, :10] = True
    alpha = opacity(mask, CutOutOptions(feather=6))
    assert (alpha[:, 0] == 1).all()
    assert np.array_equal(alpha[0], alpha[5])


def test_a_blurred_edge_and_one_of_the_probability():
    blurred = opacity(LABELS > 0, CutOutOptions(feather=4, edge="gaussian"))
    assert blurred[20, 19] + blurred[20, 20] == pytest.approx(1, abs=1e-3)
    assert blurred[20, 35] == 1
    assert blurred[20, 5] == 0
    probability = np.full(LABELS.shape, 0.3, np.float32)
    followed = opacity(LABELS > 0, CutOutOptions(feather=2, edge="probability"), probability)
    assert followed[20, 17:23].tolist() == pytest.approx([0, 0.075, 0.225, 0.475, 0.825, 1])


@settings(max_examples=30, deadline=None)
@given(
    arrays(bool, (12, 14)),
    st.sampled_from(["distance", "gaussian"]),
    st.floats(0, 6),
    st.floats(-3, 3),
)
def test_strips_are_what_one_piece_would_be(mask, edge, feather, shrink):
    options = CutOutOptions(edge=edge, feather=feather, shrink=shrink, background="#204060")
    picture = Picture(COLOURS[:12, :14].transpose(2, 0, 1), options, "it")
    backdrop = read_backdrop("#204060")
    whole = np.concatenate(list(cutting.cut_strips(picture, mask, options, backdrop)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "_STRIP", 28)  # two rows
        parts = list(cutting.cut_strips(picture, mask, options, backdrop))
    assert len(parts) == 6
    assert np.abs(np.concatenate(parts).astype(int) - whole).max() <= 1


def test_a_colour_and_a_picture_take_the_place_of_the_background(tmp_path):
    yellow = cut_out(COLOURS, LABELS, hard(background="#ffcc00"))
    assert yellow.shape == (40, 60, 3)
    assert (yellow[LABELS == 0] == (255, 204, 0)).all()
    assert np.array_equal(yellow[LABELS == 1], COLOURS[LABELS == 1])
    half = cut_out(np.full((1, 2), 100, np.uint8), np.array([[0, 1]], np.uint8), CutOutOptions(background="white"))
    assert half[0, :, 0].tolist() == [round(0.25 * 100 + 0.75 * 255), round(0.75 * 100 + 0.25 * 255)]
    # Wide, left half red and right half blue: the sides are cut off, by gravity.
    wide = np.zeros((20, 80, 3), np.uint8)
    wide[:, :40, 0] = wide[:, 40:, 2] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    for gravity, left, right in (("centre", 0, 2), ("west", 0, 0), ("east", 2, 2)):
        pixels = cut_out(COLOURS, LABELS, hard(background=str(tmp_path / "wide.png"), gravity=gravity))
        assert pixels[5, 3].argmax() == left, gravity
        assert pixels[5, -4].argmax() == right, gravity
        assert pixels[5, [3, -4]].max(axis=1).tolist() == [255, 255]


def test_a_background_of_the_same_size_is_left_as_it_is(tmp_path):
    other = RNG.integers(0, 256, (40, 60, 3)).astype(np.uint8)
    Image.fromarray(other).save(tmp_path / "other.png")
    pixels = cut_out(COLOURS, LABELS, hard(background=str(tmp_path / "other.png")))
    assert np.array_equal(pixels[LABELS == 0], other[LABELS == 0])


def test_a_large_background_is_made_smaller_without_moving(tmp_path):
    large = np.zeros((160, 240, 3), np.uint8)
    large[:80, :120] = 255  # the first quarter
    Image.fromarray(large).save(tmp_path / "large.png")
    pixels = cut_out(COLOURS, LABELS * 0, hard(background=str(tmp_path / "large.png")))
    assert pixels[:18, :28].min() >= 250
    assert pixels[22:].max() <= 5
    assert pixels[:, 32:].max() <= 5


def test_deep_greys_are_stretched_or_kept():
    deep = np.linspace(1000, 3000, 2400).reshape(40, 60).astype(np.uint16)
    everything = np.ones((40, 60), np.uint8)
    stretched = cut_out(deep, everything, hard())
    assert stretched.dtype == np.uint8
    assert stretched[0, 0, 0] == 0
    assert stretched[-1, -1, 0] == 255
    assert (stretched[..., 0] == stretched[..., 2]).all()
    fixed = cut_out(deep, everything, hard(contrast=(0, 4000)))
    assert fixed[..., 0].astype(int) == pytest.approx(deep / 4000 * 255, abs=0.6)
    kept = cut_out(deep, everything, hard(contrast="keep", background="white"))
    assert kept.dtype == np.uint16
    assert np.array_equal(kept[..., 1], deep)
    white = cut_out(deep, everything * 0, hard(contrast="keep", background="white"))
    assert (white == 65535).all()
    opaque = cut_out(deep, everything, hard(contrast="keep"))
    assert (opaque[..., 3] == 65535).all()


def test_flat_and_damaged_floats_become_pictures():
    image = np.full((8, 8), 3.5, np.float32)
    image[0, 0] = np.nan
    assert cut_out(image, np.ones((8, 8), np.uint8), hard()).dtype == np.uint8
    assert cut_out(np.full((8, 8), np.nan), np.ones((8, 8), np.uint8), hard())[..., 0].max() == 0


def test_what_is_cut_out_can_be_chosen():
    labels = LABELS.copy()
    labels[2:4, 2:4] = 2
    labels[15:20, 30:35] = 0
    assert (cut_out(COLOURS, labels, hard(values=(2,)))[..., 3] > 0).sum() == 4
    assert (cut_out(COLOURS, labels, hard())[..., 3] > 0).sum() == 600 - 25 + 4
    assert (cut_out(COLOURS, labels, hard(fill_holes=True))[..., 3] > 0).sum() == 600 + 4
    assert (cut_out(COLOURS, labels, hard(minimum_pixels=5))[..., 3] > 0).sum() == 575


def test_channels_of_a_stack_become_colours():
    markers = np.stack([np.full((4, 5), v, np.uint8) for v in (10, 20, 30, 40)])
    pixels = cut_out(markers, np.ones((4, 5), np.uint8), hard(channels=(4, 1, 2)), axes="CYX")
    assert pixels[0, 0].tolist() == [40, 10, 20, 255]
    with pytest.raises(DataError, match="has 4 channels"):
        cut_out(markers, np.ones((4, 5), np.uint8), axes="CYX")
    with pytest.raises(DataError, match="no channel 7"):
        cut_out(markers, np.ones((4, 5), np.uint8), CutOutOptions(channels=(7,)), axes="CYX")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"background": "nothing.png"}, "no colour, and there is no such file"),
        ({"edge": "probability"}, "isn't given"),
        ({"contrast": "keep"}, "type float32"),
    ],
)
def test_what_can_t_be_cut_out_is_refused(options, words):
    with pytest.raises((ConfigError, DataError), match=words):
        cut_out(COLOURS[..., 0].astype(np.float32), LABELS, CutOutOptions(**options))


def test_sizes_have_to_agree():
    with pytest.raises(DataError, match="The image has the size 10 x 10, the labels 40 x 60"):
        cut_out(COLOURS[:10, :10], LABELS)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_files_are_read_by_other_programs(tmp_path, dtype, channels):
    import imagecodecs

    pixels = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (37, 23, channels)).astype(dtype)
    with write_png(tmp_path / "a.png", pixels.shape, pixels.dtype) as writer:
        for start in range(0, 37, 10):
            writer.write(pixels[start : start + 10])
    read = imagecodecs.png_decode((tmp_path / "a.png").read_bytes())
    assert np.array_equal(read.reshape(pixels.shape), pixels)
    if dtype == np.uint8:
        assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")).reshape(pixels.shape), pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_nothing_is_left_of_a_picture_that_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), write_png(tmp_path / "a.png", (4, 4, 3), np.dtype(np.uint8)):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with (
        pytest.raises(SegNetError, match="can't be written"),
        write_png(tmp_path / "file" / "a.png", (4, 4, 3), np.dtype(np.uint8)),
    ):
        pass


@pytest.fixture
def folders(tmp_path):
    """Two photographs, one with two objects and one without any."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    labels = LABELS.copy()
    labels[2:6, 0:8] = 2
    for name, mask in {"a": labels, "b": LABELS * 0}.items():
        Image.fromarray(COLOURS).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}_mask.png")
    return tmp_path / "images", tmp_path / "masks", tmp_path / "out"


def test_folders_are_cut_out_and_blank_masks_named(folders):
    notes = []
    made = cut_out_files(*folders, CutOutOptions(feather=0), on_note=notes.append)
    assert [path.name for path in made] == ["a.png"]
    assert notes == ["b.png has nothing to cut out."]
    pixels = np.asarray(Image.open(made[0]))
    assert Image.open(made[0]).mode == "RGBA"
    assert (pixels[..., 3] > 0).sum() == 632


def test_images_are_never_overwritten(folders):
    for place in folders[:2]:
        with pytest.raises(ConfigError, match="among the images or labels"):
            cut_out_files(folders[0], folders[1], place)


def test_classes_are_chosen_by_number_or_name(folders):
    (folders[1] / "classes.json").write_text(
        '{"0": {"name": "sea", "colour": "#0000ff"}, "2": {"name": "tail", "colour": "#ffffff"}}'
    )
    for name in ("2", "tail"):
        made = cut_out_files(*folders, CutOutOptions(feather=0), classes=[name])
        assert (np.asarray(Image.open(made[0]))[..., 3] > 0).sum() == 32
    with pytest.raises(ConfigError, match="no class called 'tial'"):
        cut_out_files(*folders, classes=["tial"])


def test_a_class_that_no_label_has_is_refused_with_those_there_are(folders):
    with pytest.raises(DataError, match=r"No label image has the class 7\. Classes there are: 1, 2\."):
        cut_out_files(*folders, classes=["1", "7"])
    assert not folders[2].exists()


def test_crops_are_pictures_of_single_objects_with_room_around(folders):
    made = cut_out_files(*folders, CutOutOptions(feather=0, margin=3), crops=True, task="semantic")
    assert [path.name for path in made] == ["a_1.png", "a_2.png"]
    first, second = (np.asarray(Image.open(path)) for path in made)
    assert first.shape == (26, 36, 4)
    assert (first[..., 3] > 0).sum() == 600
    assert np.array_equal(first[3:-3, 3:-3, :3], COLOURS[10:30, 20:50])
    assert second.shape == (2 + 4 + 3, 8 + 3, 4)  # it touches the left edge, and the top is near
    table = pd.read_csv(folders[2] / "crops.csv")
    assert table["file"].tolist() == ["a_1.png", "a_2.png"]
    assert table["class"].tolist() == [1, 2]
    assert table[["y_start", "y_stop", "x_start", "x_stop"]].iloc[1].tolist() == [0, 9, 0, 11]


def test_the_edge_of_a_crop_doesn_t_depend_on_the_room_around_it(folders):
    tight = cut_out_files(*folders, CutOutOptions(feather=6), crops=True, task="semantic")[0]
    narrow = np.asarray(Image.open(tight))
    wide = np.asarray(Image.open(cut_out_files(*folders, CutOutOptions(feather=6, margin=5), crops=True)[0]))
    assert np.array_equal(wide[5:-5, 5:-5], narrow)


def test_edges_follow_the_probabilities_of_predict(folders, tmp_path):
    probabilities = np.zeros((3, 40, 60), np.float32)
    probabilities[1], probabilities[2] = 0.5, 0.25
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}_probabilities.tif", probabilities, imagej=True, metadata={"axes": "CYX"})
    options = CutOutOptions(feather=1, edge="probability")
    files = [tmp_path / f"{name}_probabilities.tif" for name in "ab"]
    made = cut_out_files(*folders, options, probabilities=files, task="semantic")
    alpha = np.asarray(Image.open(made[0]))[..., 3]
    assert alpha[20, 20] == round((0.5 + 0.75 / 2) * 255)  # both classes are cut out
    assert alpha[20, 30] == 255
    crops = cut_out_files(*folders, options, probabilities=files, crops=True, task="semantic")
    assert [np.asarray(Image.open(path))[..., 3].min() for path in crops] == [round(0.75 * 255), round(0.625 * 255)]


def test_planes_of_a_stack_are_cut_out_one_by_one(tmp_path):
    stack = RNG.integers(0, 255, (3, 20, 30)).astype(np.uint8)
    mask = np.zeros_like(stack)
    mask[1:, 5:10, 5:10] = 1
    tifffile.imwrite(tmp_path / "s.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "s_mask.tif", mask, imagej=True, metadata={"axes": "ZYX"})
    made = cut_out_files(tmp_path / "s.tif", tmp_path / "s_mask.tif", tmp_path / "out")
    assert [path.name for path in made] == ["s_z1.png", "s_z2.png"]
