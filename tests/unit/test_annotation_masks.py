"""Masks of other programs become labels: values, palettes, colours, trimaps, several a image, Cellpose."""

import collections
import os
import pickle

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_segnet.annotations import ImportOptions, read_annotations
from napari_segnet.annotations.colour_masks import guess_colour_map, read_colour_map
from napari_segnet.annotations.convert import import_annotations
from napari_segnet.annotations.value_masks import voc_palette
from napari_segnet.cli import run
from napari_segnet.errors import DataError
from napari_segnet.io.class_file import read_classes

SIZE = (24, 32)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.full((*SIZE, 3), 90, np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def masks(tmp_path):
    folder = tmp_path / "masks"
    folder.mkdir()
    return folder


def stripes(*values):
    """Return stripes of as many columns each, and the last value in what is left."""
    mask = np.full(SIZE, values[-1], np.uint8)
    for number, value in enumerate(values[:-1]):
        mask[:, 8 * number : 8 * number + 8] = value
    return mask


def save(mask, path, **options):
    Image.fromarray(mask).save(path, **options)


def result(tmp_path, name="a"):
    return tifffile.imread(tmp_path / "out" / f"{name}.tif")


def take(masks, images, tmp_path, **options):
    return import_annotations(masks, images, tmp_path / "out", ImportOptions(**options))


def test_black_and_white_masks_become_0_and_1(images, masks, tmp_path):
    save(stripes(0, 255), masks / "a_mask.png")
    made = take(masks, images, tmp_path)
    assert np.array_equal(result(tmp_path), stripes(0, 1))
    assert [(c.value, c.name) for c in made.classes] == [(1, "class 1")]
    assert [(p.file, p.problem) for p in made.problems] == [("b.png", "It has no annotation.")]


def test_several_masks_of_an_image_are_one_label_image(images, masks, tmp_path):
    one, two, three = (np.zeros(SIZE, np.uint8) for _ in range(3))
    one[2:10, 2:10], two[8:14, 8:14], three[20:22, 20:30] = 255, 255, 255
    for name, mask in (("a_mask", one), ("a_mask_1", two), ("a_mask_2", three)):
        save(mask, masks / f"{name}.png")
    take(masks, images, tmp_path)
    assert np.array_equal(result(tmp_path) > 0, (one | two | three) > 0)
    made = import_annotations(masks, images, tmp_path / "objects", ImportOptions(task="instances"))
    found = tifffile.imread(tmp_path / "objects" / "a.tif")
    assert [int((found == n).sum()) for n in (1, 2, 3)] == [64 - 4, 36, 20]
    shared = [(p.problem, p.done) for p in made.problems if p.file == "a_mask"]
    assert shared == [("Its 3 masks share 4 pixels.", "the later ones are on top")]


def test_a_black_and_white_mask_as_objects_is_its_pieces(images, masks, tmp_path):
    pieces = np.zeros(SIZE, np.uint8)
    pieces[2:5, 2:5], pieces[10:14, 10:14], pieces[14, 14] = 255, 255, 255
    save(pieces, masks / "a.png")
    made = take(masks, images, tmp_path, task="instances")
    found = result(tmp_path)
    assert [int((found == n).sum()) for n in (1, 2)] == [9, 17]
    assert ("It has one value besides 0.", "its 2 connected pieces are the objects") in [
        (p.problem, p.done) for p in made.problems
    ]


def test_images_and_masks_may_lie_side_by_side(images, tmp_path):
    save(stripes(0, 1), images / "a_mask.png")
    take(images, images, tmp_path)
    assert np.array_equal(result(tmp_path), stripes(0, 1))


def test_pascal_voc_keeps_its_numbers_names_and_border(images, masks, tmp_path):
    picture = Image.frombytes("P", SIZE[::-1], stripes(0, 15, 8, 255).tobytes())
    picture.putpalette(voc_palette().tobytes())
    picture.save(masks / "a.png")
    made = take(masks, images, tmp_path)
    assert np.array_equal(result(tmp_path), stripes(0, 15, 8, 255))
    assert [(c.value, c.name, c.colour) for c in made.classes] == [
        (8, "cat", "#400000"), (15, "person", "#c08080")
    ]  # fmt: skip
    table = read_classes(tmp_path / "out" / "classes.json")
    assert table.ignored == (255,)
    assert any("255 is on 192 pixels" in p.problem for p in made.problems)


def test_the_palette_of_voc_has_its_published_colours():
    colours = voc_palette()
    assert colours[[1, 2, 15, 20, 255]].tolist() == [
        [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192]
    ]  # fmt: skip


@pytest.mark.parametrize("written", [(1, 2, 3), (255, 0, 128)])
@pytest.mark.parametrize(("border", "expected"), [("ignore", 255), ("class", 2)])
def test_trimaps_have_two_classes_and_a_border(written, border, expected, images, masks, tmp_path):
    save(stripes(*written), masks / "a.png")
    made = take(masks, images, tmp_path, format="trimap", border=border)
    assert np.array_equal(result(tmp_path), stripes(1, 0, expected))
    names = ["foreground"] if border == "ignore" else ["foreground", "border"]
    assert [c.name for c in made.classes] == names
    assert read_classes(tmp_path / "out" / "classes.json").ignored == (() if border == "class" else (255,))


def test_a_trimap_that_a_jpeg_has_blurred_is_mended_and_counted(images, masks, tmp_path):
    shifted = np.roll(stripes(255, 0, 128), 3, axis=1)
    save(shifted, masks / "a.jpg", quality=60)
    changed = int((~np.isin(np.asarray(Image.open(masks / "a.jpg")), (0, 128, 255))).sum())
    made = take(masks, images, tmp_path, format="trimap")
    assert np.array_equal(result(tmp_path), np.roll(stripes(1, 0, 255), 3, axis=1))
    assert changed > 0
    assert made.problems[-1].problem.startswith(f"{changed} pixels of other values than 0, 128, 255")


def colour_stripes(*colours):
    return np.stack([stripes(*channel) for channel in zip(*colours, strict=True)], axis=-1)


ROAD, TREE, CAR = (128, 64, 128), (10, 200, 30), (250, 10, 10)


CLASSES_JSON = """{
 "1": {"name": "road", "colour": "#804080"}, "2": {"name": "tree", "color": "#0ac81e"},
 "3": {"name": "car", "colour": "#fa0a0a"}, "0": {"name": "void", "colour": "#000000"}
}"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("map.csv", "name,r,g,b\nroad,128,64,128\ntree, 10, 200, 30\ncar,250,10,10\nvoid,0,0,0\n"),
        ("map.txt", "128 64 128\tRoad\n10 200 30\t\ttree\n250 10 10 car\n0 0 0 void\n"),
        ("map.json", '{"road": [128, 64, 128], "tree": [10, 200, 30], "car": [250, 10, 10], "void": [0, 0, 0]}'),
        ("map.json", '{"#804080": "road", "#0ac81e": "tree", "#fa0a0a": "car", "#000000": "void"}'),
        (
            "classes.json",
            CLASSES_JSON,
        ),
    ],
)
def test_colours_are_classes_by_a_map_in_any_of_its_usual_forms(name, text, images, masks, tmp_path):
    (tmp_path / name).write_text(text)
    save(colour_stripes(TREE, (0, 0, 0), ROAD, CAR), masks / "a.png")
    made = take(masks, images, tmp_path, colour_map=str(tmp_path / name))
    assert np.array_equal(result(tmp_path), stripes(2, 0, 1, 3))
    assert [c.name.lower() for c in made.classes] == ["void", "road", "tree", "car"]
    assert made.classes[1].colour == "#804080"


def test_without_a_map_every_colour_is_a_class_and_that_is_said(images, masks, tmp_path):
    save(colour_stripes((0, 0, 0), ROAD, TREE), masks / "a.png")
    made = take(masks, images, tmp_path)
    # Black is 0; the others go from dark to bright, whatever their frequency: every folder has one order.
    assert np.array_equal(result(tmp_path), stripes(0, 2, 1))
    assert "the colours are #000000, #0ac81e, #804080." in made.problems[0].problem


def test_jpeg_artefacts_are_taken_for_the_nearest_colour_and_counted(images, masks, tmp_path):
    (tmp_path / "map.csv").write_text("road,128,64,128\ntree,10,200,30\nvoid,0,0,0\n")
    save(colour_stripes((0, 0, 0), ROAD, TREE), masks / "a.jpg", quality=90, subsampling=0)
    pixels = np.asarray(Image.open(masks / "a.jpg")).reshape(-1, 3)
    exact = np.isin(pixels @ [65536, 256, 1], np.array([(0, 0, 0), ROAD, TREE]) @ [65536, 256, 1])
    made = take(masks, images, tmp_path, colour_map=str(tmp_path / "map.csv"))
    assert np.array_equal(result(tmp_path), stripes(0, 1, 2))
    share = np.count_nonzero(~exact) / exact.size
    assert 0 < share < 1
    assert f"{np.count_nonzero(~exact)} pixels ({share:.1%}) of colours that are no class." in [
        p.problem for p in made.problems
    ]
    guessed = guess_colour_map([masks / "a.jpg"])
    assert len(guessed) == 3


def test_a_colour_that_the_map_lacks_is_said_with_an_example(images, masks, tmp_path):
    (tmp_path / "map.csv").write_text("road,128,64,128\nvoid,0,0,0\n")
    save(colour_stripes((0, 0, 0), ROAD, (0, 255, 0)), masks / "a.png")
    made = take(masks, images, tmp_path, colour_map=str(tmp_path / "map.csv"))
    assert any("384 pixels far from every class, such as #00ff00" in p.problem for p in made.problems)


def test_classes_of_masks_can_be_chosen_renumbered_and_ignored(images, masks, tmp_path):
    (tmp_path / "map.csv").write_text("road,128,64,128\ntree,10,200,30\ncar,250,10,10\n")
    save(colour_stripes(ROAD, TREE, CAR), masks / "a.png")
    options = {"colour_map": str(tmp_path / "map.csv"), "classes": ("car",), "ignore": ("road",)}
    made = take(masks, images, tmp_path, **options)
    assert np.array_equal(result(tmp_path), stripes(255, 0, 1))
    assert ("192 pixels of the unknown class 'tree'.", "left out (0)") in [(p.problem, p.done) for p in made.problems]


@pytest.mark.parametrize(
    "text", ["", "no colours here", '{"road": [300, 0, 0]}', '{"road": 3}', "a,1,2,3\nb,1,2,3", "[" * 9999]
)
def test_colour_maps_that_hold_none_are_a_sentence(text, tmp_path):
    path = tmp_path / "map.txt"
    path.write_text(text)
    with pytest.raises(DataError, match="can't be used as a colour map"):
        read_colour_map(path)


def test_photographs_and_numbered_objects_are_no_classes(images, masks, tmp_path):
    rng = np.random.default_rng(0)
    save(rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8), masks / "a.png")
    with pytest.raises(DataError, match="are these photographs"):
        take(masks, images, tmp_path)
    save(np.arange(SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint16) // 4, masks / "a.png")
    with pytest.raises(DataError, match=r"191 different values\. If they number objects: --task instances"):
        take(masks, images, tmp_path)
    take(masks, images, tmp_path, task="instances")
    assert result(tmp_path).max() == 191


def test_masks_of_another_size_are_left_out_or_stretched(images, masks, tmp_path):
    save(stripes(0, 1), masks / "a.png")
    save(np.kron(stripes(0, 1), np.ones((2, 2), np.uint8)), masks / "b.png")
    made = take(masks, images, tmp_path)
    assert ("b.png", "Its labels are 48 x 64, the image is 24 x 32.") in [(p.file, p.problem) for p in made.problems]
    assert not (tmp_path / "out" / "b.tif").exists()
    import_annotations(masks, images, tmp_path / "out2", ImportOptions(rescale=True))
    assert np.array_equal(tifffile.imread(tmp_path / "out2" / "b.tif"), stripes(0, 1))


# -- Cellpose ----------------------------------------------------------------------------------------------------------


def cells():
    mask = np.zeros(SIZE, np.uint16)
    mask[2:8, 2:8], mask[10:20, 12:20] = 1, 2
    return mask


def save_seg(path, masks, **more):
    """Save what Cellpose's window does: a dictionary with masks, outlines, names and flows."""
    tree = {
        "outlines": (masks > 0).astype(np.uint8), "masks": masks, "filename": "a.png", "ismanual": np.zeros(2, bool),
        "flows": [np.zeros((*SIZE, 3), np.uint8), [np.float32(0.5), None]], "est_diam": np.float64(30.0),
        "colors": np.zeros((2, 3), np.uint8), "chan_choose": [0, 0],
    }  # fmt: skip
    np.save(path, tree | more, allow_pickle=True)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32])
def test_the_objects_of_a_seg_file_are_read(dtype, images, masks, tmp_path):
    save_seg(masks / "a_seg.npy", cells().astype(dtype))
    made = take(masks, images, tmp_path)
    assert made.task == "instances"
    assert np.array_equal(result(tmp_path), cells())


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_way_numpy_has_pickled_is_understood(protocol, order, images, masks, tmp_path):
    tree = np.array({"masks": np.array(cells(), order=order)}, dtype=object)
    with (masks / "a_seg.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(tree))
        pickle.dump(tree, file, protocol=protocol)
    take(masks, images, tmp_path)
    assert np.array_equal(result(tmp_path), cells())


def test_cp_masks_are_objects_and_a_seg_file_comes_first(images, masks, tmp_path):
    tifffile.imwrite(masks / "a_cp_masks.tif", np.ones(SIZE, np.uint16))
    tifffile.imwrite(masks / "b_cp_masks.tif", cells())
    save_seg(masks / "a_seg.npy", cells())
    take(masks, images, tmp_path)
    assert np.array_equal(result(tmp_path, "a"), cells())
    assert np.array_equal(result(tmp_path, "b"), cells())


class Hostile:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_a_seg_file_runs_nothing(images, masks, tmp_path):
    target = tmp_path / "ran"
    save_seg(masks / "a_seg.npy", cells(), extra=Hostile(target))
    with pytest.raises(DataError, match=r"holds more than arrays: it asks for (posix|nt)\.system"):
        take(masks, images, tmp_path)
    assert not target.exists()


@pytest.mark.parametrize(
    "tree", [collections.Counter("ab"), {"masks": None}, {"masks": cells().astype(object)}, {"x": 1}, 3]
)
def test_seg_files_without_masks_are_a_sentence(tree, images, masks, tmp_path):
    np.save(masks / "a_seg.npy", np.array(tree, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"a_seg\.npy"):
        take(masks, images, tmp_path)


def test_a_seg_file_that_claims_a_huge_array_takes_no_memory(images, masks, tmp_path):
    save_seg(masks / "a_seg.npy", np.zeros((3, 3), np.uint16))
    content = (masks / "a_seg.npy").read_bytes()
    small, huge = pickle.dumps((3, 3), protocol=4)[11:-1], b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
    assert small.startswith(b"K\x03K\x03\x86")
    (masks / "a_seg.npy").write_bytes(content.replace(b"K\x03K\x03\x86", huge))
    with pytest.raises(DataError, match=r"a_seg\.npy is damaged"):
        take(masks, images, tmp_path)


def test_every_cut_of_a_seg_file_is_a_sentence(images, masks, tmp_path):
    save_seg(masks / "a_seg.npy", cells())
    content = (masks / "a_seg.npy").read_bytes()
    for length in range(0, len(content) - 1, 97):
        (masks / "a_seg.npy").write_bytes(content[:length])
        with pytest.raises(DataError):
            take(masks, images, tmp_path)


def test_the_shell_takes_a_folder_of_masks(images, masks, tmp_path, capsys):
    save(stripes(0, 255), masks / "a_mask.png")
    out = tmp_path / "out"
    assert run(["import-annotations", str(masks), "--images", str(images), "--out", str(out)]) == 0
    assert "It has no annotation." in capsys.readouterr().out
    assert run(["import-annotations", str(tmp_path / "none"), "--images", str(images), "--out", str(out)]) == 2
    assert "There is no file or folder" in capsys.readouterr().err


def test_a_folder_with_annotation_files_is_not_taken_for_masks(images, masks):
    save(stripes(0, 1), masks / "a.png")
    (masks / "via.json").write_text('{"a.png": {"filename": "a.png", "regions": []}}')
    assert [image.source for image in read_annotations(masks).images] == ["via.json"]
