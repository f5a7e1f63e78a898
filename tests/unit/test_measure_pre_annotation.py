"""Classical methods as a start for annotation: drawn scenes with a known answer, and scikit-image itself."""

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage.filters import threshold_multiotsu, threshold_otsu

from napari_segnet.cli import run
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.io.class_file import read_classes
from napari_segnet.io.images import open_labels
from napari_segnet.measure import METHODS, pre_annotate, pre_annotate_files
from napari_segnet.measure.pre_annotation import method_named, method_options
from napari_segnet.option_rows import option_rows

Y, X = np.mgrid[:80, :100]


def discs(*places, radius=10, shape=(80, 100)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.any([np.hypot(y - row, x - column) <= radius for row, column in places], axis=0)


SCENE = discs((25, 25), (25, 70), (60, 40))
NOISY = (60 + 120 * SCENE + np.random.default_rng(0).normal(0, 8, SCENE.shape)).clip(0, 255).astype(np.uint8)


def iou(found, truth):
    return np.count_nonzero(found & truth) / np.count_nonzero(found | truth)


def test_otsu_finds_bright_or_dark_objects():
    assert iou(pre_annotate(NOISY, "otsu") == 1, SCENE) > 0.97
    dark = pre_annotate(255 - NOISY, "otsu", {"objects": "dark"})
    assert np.array_equal(dark, pre_annotate(NOISY, "otsu"))
    assert dark.dtype == np.uint8


def test_otsu_without_a_blur_is_scikit_image_s():
    threshold = threshold_otsu(NOISY.astype(float), 1024)
    assert np.array_equal(pre_annotate(NOISY, "otsu", {"smooth": 0}), np.greater(NOISY, threshold))
    steps = np.digitize(X, [30, 60]) * 80.0 + np.random.default_rng(0).normal(0, 4, X.shape)
    found = pre_annotate(steps, "otsu", {"smooth": 0, "classes": 3})
    assert np.array_equal(found, np.digitize(steps, threshold_multiotsu(steps, 3), right=True))
    assert np.array_equal(found, np.digitize(X, [30, 60]))


def test_a_local_threshold_doesn_t_mind_uneven_light():
    light = NOISY.astype(float) + 3 * X
    assert iou(pre_annotate(light, "otsu") == 1, SCENE) < 0.6
    for statistic in ("gaussian", "mean", "median"):
        found = pre_annotate(light, "local-threshold", {"window": 61, "statistic": statistic, "offset": 0.12})
        assert iou(found == 1, SCENE) > 0.9, statistic


def test_sauvola_finds_dark_writing_on_light_paper():
    writing = (Y % 16 < 3) & (X > 10) & (X < 90)
    paper = 200 - 100 * writing - 0.8 * X
    found = pre_annotate(
        paper, "local-threshold", {"statistic": "sauvola", "objects": "dark", "window": 25, "smooth": 0}
    )
    assert iou(found == 1, writing) > 0.95


def test_canny_fills_what_edges_enclose():
    filled = pre_annotate(NOISY, "canny", {"smooth": 2, "low": 0.9, "high": 0.95})
    assert iou(filled == 1, SCENE) > 0.85
    edges = pre_annotate(NOISY, "canny", {"smooth": 2, "low": 0.9, "high": 0.95, "result": "edges"})
    rim = SCENE ^ ndimage.binary_erosion(SCENE)
    assert np.count_nonzero(edges) < np.count_nonzero(SCENE)
    assert np.mean(ndimage.distance_transform_edt(~rim)[edges == 1] <= 3) > 0.95


def test_the_watershed_parts_objects_that_touch():
    touching = discs((40, 30), (40, 48), (40, 80), radius=11)
    assert ndimage.label(touching)[1] == 2
    found = pre_annotate(touching * 100.0, "watershed", {"apart": 8, "smooth": 0})
    assert found.max() == 3
    assert np.array_equal(found > 0, touching)
    assert len({found[40, 28], found[40, 50], found[40, 80]}) == 3
    for number in (1, 2, 3):
        assert ndimage.label(found == number)[1] == 1


@pytest.mark.parametrize("method", ["watershed", "random-walker"])
def test_strokes_spread_up_to_the_edges(method):
    strokes = np.zeros(SCENE.shape, np.uint8)
    strokes[2:4, 5:95] = strokes[76:78, 5:95] = strokes[40:44, 5:95] = 3
    for row, column in ((25, 25), (25, 70), (60, 40)):
        strokes[row - 2 : row + 3, column - 2 : column + 3] = 7
    found = pre_annotate(NOISY, method, {"smooth": 1}, strokes=strokes)
    assert set(np.unique(found)) == {3, 7}
    assert iou(found == 7, SCENE) > 0.9
    assert np.array_equal(found[strokes > 0], strokes[strokes > 0])


def test_the_random_walker_sees_colours_that_are_equally_bright():
    halves = np.zeros((40, 60, 3), np.uint8)
    halves[:, :30] = (200, 0, 0)
    halves[:, 30:] = (0, 59, 0)  # as bright as the red
    halves += np.random.default_rng(0).integers(0, 8, halves.shape).astype(np.uint8)
    strokes = np.zeros((40, 60), np.uint8)
    strokes[18:22, 2:6], strokes[18:22, 45:55] = 1, 2
    found = pre_annotate(halves, "random-walker", strokes=strokes)
    assert np.mean((found == 1) == (np.arange(60) < 30)) > 0.97


def test_large_images_are_walked_at_a_smaller_size():
    big = np.kron(SCENE, np.ones((3, 3))) * 100.0
    strokes = np.zeros(big.shape, np.uint8)
    strokes[0:6, :] = 1
    for row, column in ((75, 75), (75, 210), (180, 120)):
        strokes[row - 6 : row + 7, column - 6 : column + 7] = 2
    found = pre_annotate(big, "random-walker", {"most_pixels": 10_000}, strokes=strokes)
    assert found.shape == big.shape
    assert iou(found == 2, big > 0) > 0.9
    assert np.array_equal(found[strokes > 0], strokes[strokes > 0])


def test_volumes_are_segmented_with_the_size_of_their_voxels():
    z, y, x = np.mgrid[:12, :40, :70]
    balls = [((z - 6) * 3) ** 2 + (y - 20) ** 2 + (x - column) ** 2 <= 14**2 for column in (20, 44)]
    volume = np.any(balls, axis=0) * 100.0
    found = pre_annotate(volume, "watershed", {"apart": 12, "smooth": 0}, axes="ZYX", spacing=(3, 1, 1))
    assert found.max() == 2
    assert np.array_equal(found > 0, volume > 0)
    for number, ball in zip((found[6, 20, 20], found[6, 20, 44]), balls, strict=True):
        assert iou(found == number, ball) > 0.95
    assert iou(pre_annotate(volume, "otsu", axes="ZYX") == 1, volume > 0) > 0.85
    planes = pre_annotate(volume, "canny", axes="ZYX")
    assert np.array_equal(planes[6], pre_annotate(volume[6] / volume.max(), "canny"))


def test_specks_are_left_out_and_holes_filled():
    image = SCENE * 100.0
    image[25, 25] = 0
    image[70:72, 90:92] = 100
    found = pre_annotate(image, "otsu", {"smooth": 0, "minimum_pixels": 5, "fill_holes": True})
    assert np.array_equal(found == 1, SCENE)


def test_a_channel_or_the_brightness_of_all_is_looked_at():
    photograph = np.zeros((80, 100, 3), np.uint8)
    photograph[..., 1] = 255 * SCENE
    photograph[..., 0] = 255 * (X > 50)
    assert np.array_equal(pre_annotate(photograph, "otsu", {"channel": 2, "smooth": 0}) == 1, SCENE)
    assert np.array_equal(pre_annotate(photograph, "otsu", {"channel": 1, "smooth": 0}) == 1, X > 50)
    stack = np.stack([SCENE * 9.0, SCENE * 9.0])
    assert np.array_equal(pre_annotate(stack, "otsu", {"smooth": 0}, axes="CYX") == 1, SCENE)


@pytest.mark.parametrize(
    ("method", "arguments", "words"),
    [
        ("otsuu", {}, "no method called 'otsuu'"),
        ("otsu", {"options": {"clases": 3}}, "no option of otsu called 'clases'"),
        ("otsu", {"options": {"classes": 9}}, "less than or equal to 5"),
        ("otsu", {"options": {"channel": 2}}, "1 channel, and no channel 2"),
        ("otsu", {"image": np.full((5, 5), 7)}, "flat: all its values are 7"),
        ("otsu", {"image": np.full((5, 5), np.nan)}, "holds NaN"),
        ("otsu", {"image": np.where(SCENE, np.inf, 0)}, "holds infinite values"),
        ("otsu", {"image": np.eye(6), "options": {"classes": 3, "smooth": 0}}, "too few different values"),
        ("otsu", {"image": np.zeros((2, 3, 4, 5)), "axes": "TZYX"}, "neither a plane nor a volume"),
        ("otsu", {"strokes": SCENE.astype(np.uint8)}, "doesn't start from strokes"),
        ("random-walker", {}, "starts from strokes"),
        ("watershed", {"options": {"seeds": "strokes"}}, "starts from strokes"),
        ("random-walker", {"strokes": np.zeros(SCENE.shape, np.uint8)}, "There are no strokes"),
        ("random-walker", {"strokes": SCENE.astype(np.uint8)}, "All strokes are of one class"),
        ("watershed", {"strokes": np.ones((3, 3), np.uint8)}, "The image has the size 80 x 100"),
    ],
)
def test_what_can_t_be_done_is_refused(method, arguments, words):
    arguments = {"image": NOISY, **arguments}
    with pytest.raises((ConfigError, DataError), match=words):
        pre_annotate(arguments.pop("image"), method, **arguments)


def test_every_method_is_listed_with_its_options():
    for name, method in METHODS.items():
        assert method_named(name) is method
        assert method.idea.endswith(".")
        rows = option_rows(method.options)
        assert all(row.meaning for row in rows)
        assert method_options(method, {}).model_dump().keys() == {row.name for row in rows}


def test_folders_become_label_files_with_classes(tmp_path):
    (tmp_path / "images").mkdir()
    for name in "ab":
        tifffile.imwrite(
            tmp_path / "images" / f"{name}.tif", NOISY, resolution=(2, 2), imagej=True, metadata={"unit": "um"}
        )
    done = []
    made = pre_annotate_files(
        "watershed", tmp_path / "images", tmp_path / "out", on_progress=lambda *numbers: done.append(numbers)
    )
    assert [path.name for path in made] == ["a.tif", "b.tif"]
    assert done == [(1, 2), (2, 2)]
    labels = open_labels(made[0])
    assert np.asarray(labels.array).max() == 3
    assert labels.pixel_size == pytest.approx((0.5, 0.5))
    assert labels.units == "micrometer"
    table = read_classes(tmp_path / "out" / "classes.json")
    assert table.task == "instances"
    pre_annotate_files("otsu", tmp_path / "images", tmp_path / "out", {"classes": 3}, overwrite=True)
    table = read_classes(tmp_path / "out" / "classes.json")
    assert [c.value for c in table.classes] == [0, 1, 2]
    assert table.task == "semantic"
    with pytest.raises(ConfigError, match="among the images"):
        pre_annotate_files("otsu", tmp_path / "images", tmp_path / "images")


def test_strokes_are_paired_with_images_and_name_the_classes(tmp_path):
    strokes = np.zeros(SCENE.shape, np.uint8)
    strokes[2:4], strokes[23:28, 23:28] = 1, 2
    for folder in ("images", "strokes"):
        (tmp_path / folder).mkdir()
    for name in "ab":
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", NOISY)
    tifffile.imwrite(tmp_path / "strokes" / "a_label.tif", strokes)
    words = '{"1": {"name": "sea", "colour": "#0000ff"}, "2": {"name": "tail", "colour": "#ffffff"}}'
    (tmp_path / "strokes" / "classes.json").write_text(words)
    notes = []
    made = pre_annotate_files(
        "watershed", tmp_path / "images", tmp_path / "out", strokes=tmp_path / "strokes", on_note=notes.append
    )
    assert [path.name for path in made] == ["a.tif"]
    assert notes == ["b.tif has no strokes and is left out."]
    assert set(np.unique(tifffile.imread(made[0]))) == {1, 2}
    assert [c.name for c in read_classes(tmp_path / "out" / "classes.json").classes] == ["sea", "tail"]


def test_each_time_point_is_segmented_by_itself(tmp_path):
    times = np.stack([NOISY, 255 - NOISY])
    tifffile.imwrite(tmp_path / "t.tif", times, imagej=True, metadata={"axes": "TYX"})
    made = pre_annotate_files("otsu", tmp_path / "t.tif", tmp_path / "out")
    labels = open_labels(made[0])
    assert labels.axes == "TYX"
    assert iou(np.asarray(labels.array)[0] == 1, SCENE) > 0.97
    assert iou(np.asarray(labels.array)[1] == 1, ~SCENE) > 0.97


def test_labels_that_are_there_are_replaced_only_when_asked(tmp_path):
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", NOISY)
    made = pre_annotate_files("otsu", tmp_path / "images", tmp_path / "out")
    made[0].write_bytes(b"corrected by hand")
    command = ["pre-annotate", "otsu", str(tmp_path / "images"), "--out", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match=r"a\.tif is there already, 1 such in all.*--overwrite"):
        pre_annotate_files("otsu", tmp_path / "images", tmp_path / "out")
    assert run(command) == 2
    assert made[0].read_bytes() == b"corrected by hand"
    assert run([*command, "--overwrite"]) == 0
    assert iou(tifffile.imread(made[0]) == 1, SCENE) > 0.97


def test_an_image_that_fails_is_named_and_the_others_are_made(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    nan = np.where(SCENE, np.nan, 1).astype(np.float32)
    for name, image in {"a": NOISY, "b": nan, "c": NOISY * 0}.items():
        tifffile.imwrite(images / f"{name}.tif", image)
    notes, done = [], []
    made = pre_annotate_files(
        "otsu",
        images,
        tmp_path / "out",
        on_note=notes.append,
        on_progress=lambda *numbers: done.append(numbers),
    )
    assert [path.name for path in made] == ["a.tif"]
    assert notes == [
        "b.tif: The image holds NaN. It is left out.",
        "c.tif: The image is flat: all its values are 0. It is left out.",
    ]
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tif", "classes.json"]
    assert [c.value for c in read_classes(tmp_path / "out" / "classes.json").classes] == [0, 1]
    with pytest.raises(DataError, match=r"^b\.tif: The image holds NaN\. Replace"):
        pre_annotate_files("otsu", images / "b.tif", tmp_path / "none")
    with pytest.raises(DataError, match=r"None of the 2 images can be segmented\. b\.tif: The image holds NaN"):
        pre_annotate_files("otsu", [images / "b.tif", images / "c.tif"], tmp_path / "none")
    assert not (tmp_path / "none").exists()
