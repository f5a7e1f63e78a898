"""measure, cut-out and pre-annotate at the shell: from images to tables and pictures, and mistakes in a line."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from skimage.draw import disk

from napari_segnet import cli


@pytest.fixture
def segnet(capsys):
    """Return a function that runs a command and returns what it printed and what it complained of."""

    def run(*arguments, code=0):
        found = cli.run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert found == code, printed.err
        assert "Traceback" not in printed.err
        return printed

    return run


@pytest.fixture
def folder(tmp_path):
    """Two images of bright discs, of 7 and 3 objects that don't touch, and masks of them."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    for name, number in (("a", 7), ("b", 3)):
        mask = np.zeros((96, 128), np.uint8)
        for place in range(number):
            mask[disk((20 + place // 4 * 40, 16 + place % 4 * 32), 11)] = 1
        image = (40 + 160 * mask + rng.normal(0, 6, mask.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(mask * 255).save(tmp_path / "masks" / f"{name}_mask.png")
    return tmp_path


def test_images_are_pre_annotated_measured_and_cut_out(folder, segnet):
    printed = segnet("pre-annotate", "watershed", folder / "images", "--out", folder / "labels", "--set", "apart=8")
    assert "Written: 2 label files and classes.json" in printed.out
    printed = segnet(
        "measure", folder / "labels", "--out", folder / "tables", "--images", folder / "images",
        "--pixel-size", "0.5", "--units", "micrometer", "--exclude-border",
    )  # fmt: skip
    assert "1 object      2       10" in printed.out
    objects = pd.read_csv(folder / "tables" / "objects.csv")
    assert objects["image"].value_counts().to_dict() == {"a": 7, "b": 3}
    truth = np.asarray(Image.open(folder / "masks" / "a_mask.png")) > 0
    assert objects["area"].mean() == pytest.approx(truth.sum() / 7 * 0.25, rel=0.1)
    assert objects["equivalent_diameter"].mean() == pytest.approx(11, rel=0.06)
    assert objects["circularity"].min() > 0.85
    assert objects["intensity_above_background"].mean() == pytest.approx(160, rel=0.05)
    segnet("cut-out", folder / "images", folder / "labels", "--out", folder / "cut", "--crops", "--margin", "2")
    crops = pd.read_csv(folder / "cut" / "crops.csv")
    assert len(crops) == 10
    assert Image.open(folder / "cut" / crops["file"].iloc[0]).mode == "RGBA"


def test_cover_of_masks_is_that_of_their_pixels(folder, segnet):
    segnet("measure", folder / "masks", "--out", folder / "t", "--no-objects", "--no-counts", "--format", "parquet")
    cover = pd.read_parquet(folder / "t" / "cover.parquet")
    mask = np.asarray(Image.open(folder / "masks" / "b_mask.png")) > 0
    row = cover[(cover["image"] == "b_mask") & (cover["class"] == 255)]
    assert row["fraction"].item() == pytest.approx(mask.mean())
    assert row["remaining"].item() == pytest.approx(1 - mask.mean())
    assert not (folder / "t" / "objects.parquet").exists()
    segnet("measure", folder / "masks", "--out", folder / "t", "--circle", "--set", "circle.rings=3")
    rings = pd.read_csv(folder / "t" / "cover.csv")
    assert rings["zenith_stop"].unique().tolist() == [30, 60, 90]
    assert rings["counted_pixels"].max() < mask.size


def test_backgrounds_are_replaced(folder, segnet):
    segnet(
        "cut-out", folder / "images", folder / "masks", "--out", folder / "cut", "--background", "#ff0000",
        "--feather", "0", "--class", "255",
    )  # fmt: skip
    pixels = np.asarray(Image.open(folder / "cut" / "a.png"))
    mask = np.asarray(Image.open(folder / "masks" / "a_mask.png")) > 0
    image = np.asarray(Image.open(folder / "images" / "a.png"))
    assert (pixels[~mask] == (255, 0, 0)).all()
    assert np.array_equal(pixels[mask][:, 0], image[mask])


def test_what_was_deep_is_kept_or_stretched_at_the_shell(folder, segnet):
    deep = np.asarray(Image.open(folder / "images" / "a.png")).astype(np.uint16) * 200
    tifffile.imwrite(folder / "deep.tif", deep)
    mask = folder / "masks" / "a_mask.png"
    segnet("cut-out", folder / "deep.tif", mask, "--out", folder / "one", "--contrast", "0,51000", "--feather", 0)
    pixels = np.asarray(Image.open(folder / "one" / "deep.png"))
    inside = pixels[..., 3] > 0
    assert pixels[inside][:, 0] == pytest.approx(deep[inside] / 200, abs=1)
    segnet("cut-out", folder / "deep.tif", mask, "--out", folder / "two", "--contrast", "keep")
    assert (folder / "two" / "deep.png").read_bytes()[24] == 16  # bits a channel


def test_methods_and_their_options_are_listed(segnet):
    assert segnet("pre-annotate", "--plain").out.split() == [
        "otsu", "local-threshold", "canny", "watershed", "random-walker",
    ]  # fmt: skip
    assert "least distance of two middles" in segnet("pre-annotate", "watershed").out


def test_strokes_start_the_random_walker(folder, segnet):
    (folder / "strokes").mkdir()
    for name in "ab":
        mask = np.asarray(Image.open(folder / "masks" / f"{name}_mask.png")) > 0
        strokes = np.zeros(mask.shape, np.uint8)
        strokes[::8, 3:-3] = mask[::8, 3:-3] + 1
        Image.fromarray(strokes).save(folder / "strokes" / f"{name}.png")
    segnet("pre-annotate", "random-walker", folder / "images", "--strokes", folder / "strokes", "--out", folder / "w")
    for name in "ab":
        found = tifffile.imread(folder / "w" / f"{name}.tif") == 2
        mask = np.asarray(Image.open(folder / "masks" / f"{name}_mask.png")) > 0
        assert np.count_nonzero(found & mask) / np.count_nonzero(found | mask) > 0.9


def test_mistakes_are_told_in_a_line(folder, segnet):
    images, masks, out = folder / "images", folder / "masks", folder / "out"
    (folder / "classes.json").write_text(json.dumps({"1": {"name": "cell", "colour": "red"}}))
    cases = [
        (("measure", folder / "none", "--out", out), "There is no file or folder"),
        (("measure", masks, "--out", masks), "Choose another --out"),
        (("measure", masks, "--out", out, "--pixel-size", "wide"), "no pixel size"),
        (("measure", masks, "--out", out, "--classes", folder / "classes.json"), "colour = 'red'"),
        (("measure", masks, "--out", out, "--set", "circle.rigns=3"), "no option 'circle.rigns'"),
        (("measure", masks, "--out", out, "--set", "tables=[]", "--set", "objects.minimum_size=-1"), "minimum_size"),
        (("cut-out", images, masks, "--out", out, "--background", "no-such-colour"), "no colour"),
        (("cut-out", images, masks, "--out", out, "--class", "tail"), "There are no classes with names"),
        (("cut-out", images, masks, "--out", out, "--channels", "1,2"), "give one, or three"),
        (("cut-out", images, masks, "--out", out, "--contrast", "9,3"), "from the darker to the brighter"),
        (("cut-out", images, masks, "--out", out, "--gravity", "up"), "gravity = 'up'"),
        (("pre-annotate", "otsu", images), "no folder to write into"),
        (("pre-annotate", "ostu", images, "--out", out), "Did you mean 'otsu'?"),
        (("pre-annotate", "otsu", images, "--out", out, "--set", "classes=1"), "greater than or equal to 2"),
        (("pre-annotate", "random-walker", images, "--out", out), "starts from strokes"),
    ]
    for arguments, words in cases:
        error = segnet(*arguments, code=2).err.strip().splitlines()[-1]
        assert error.startswith("error: "), arguments
        assert words in error, (arguments, error)
    assert not out.exists()


def test_a_layer_of_napari_finds_its_features_by_the_label(folder, segnet):
    from napari.layers import Labels

    from napari_segnet.measure import layer_features

    segnet("pre-annotate", "watershed", folder / "images", "--out", folder / "labels", "--set", "apart=8")
    segnet("measure", folder / "labels", "--out", folder / "tables")
    table = pd.read_csv(folder / "tables" / "objects.csv")
    labels = tifffile.imread(folder / "labels" / "a.tif")
    layer = Labels(labels, features=layer_features(table, image="a"))
    for label in np.unique(labels[labels > 0]):
        row = table[(table["image"] == "a") & (table["label"] == label)].iloc[0]
        assert layer.features["pixels"][layer._label_index[label]] == row["pixels"] == np.count_nonzero(labels == label)
    assert any(text.startswith("circularity: ") for text in layer._get_properties((20, 16)))
