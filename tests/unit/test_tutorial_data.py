"""The data of the tutorials: what the tutorials say is in them, the same for everybody."""

import json

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from napari_segnet.cli import run
from napari_segnet.errors import SegNetError
from napari_segnet.tutorials import DATA_SETS, write_data


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", DATA_SETS)
def test_the_same_seed_draws_the_same_files_and_another_other_ones(name, tmp_path):
    once, again, other = (
        contents(write_data(name, tmp_path / folder, 2, seed)) for folder, seed in (("1", 5), ("2", 5), ("3", 6))
    )
    assert once.keys() == again.keys() == other.keys()
    assert once == again
    assert once != other


def test_canopies_go_from_closed_to_open(tmp_path):
    folder = write_data("canopy", tmp_path / "canopy", 8)
    images = [iio.imread(p) for p in sorted((folder / "images").iterdir())]
    masks = [iio.imread(p) for p in sorted((folder / "masks").iterdir())]
    assert all(image.shape == (192, 288, 3) for image in images)
    shares = [float((mask == 255).mean()) for mask in masks]
    assert shares[0] < 0.15
    assert shares[-1] > 0.5
    # The sky is brighter than the leaves: the mask says what the image shows.
    assert all(i[m == 255].mean() > 2 * i[m == 0].mean() for i, m in zip(images, masks, strict=True))


def test_lesions_are_outlined_as_via_writes_them(tmp_path):
    folder = write_data("brain", tmp_path / "brain", 4)
    tree = json.loads((folder / "lesions.json").read_text())
    names = {entry["filename"] for entry in tree.values()}
    assert names == {p.name for p in (folder / "images").iterdir()}
    kinds = [r["region_attributes"]["lesion"] for entry in tree.values() for r in entry["regions"]]
    assert kinds.count("tumour") >= 4
    assert set(kinds) <= {"tumour", "oedema"}


def test_trimaps_have_a_border_all_around_the_horse(tmp_path):
    folder = write_data("animals", tmp_path / "animals", 3)
    for path in (folder / "trimaps").iterdir():
        trimap = iio.imread(path)
        assert set(np.unique(trimap)) == {1, 2, 3}
        beside = np.zeros(trimap.shape, bool)
        beside[1:] |= (trimap[1:] == 1) & (trimap[:-1] == 2)
        beside[:, 1:] |= (trimap[:, 1:] == 1) & (trimap[:, :-1] == 2)
        assert not beside.any()
    assert iio.imread(folder / "sea.jpg").shape == (300, 400, 3)


def test_masks_in_dark_field_have_the_colours_of_their_table(tmp_path):
    folder = write_data("darkfield", tmp_path / "darkfield", 3)
    rows = (folder / "colours.csv").read_text().splitlines()[1:]
    known = {tuple(int(v) for v in row.split(",")[1:]) for row in rows}
    for path in (folder / "masks").iterdir():
        assert {tuple(c) for c in iio.imread(path).reshape(-1, 3).tolist()} <= known


def test_stacks_say_how_far_their_planes_are_apart(tmp_path):
    folder = write_data("tissue", tmp_path / "tissue", 2)
    with tifffile.TiffFile(folder / "images" / "stack_1.tif") as file:
        assert file.imagej_metadata["spacing"] == 1.5
        assert file.imagej_metadata["unit"] == "um"
    labels = tifffile.imread(folder / "labels" / "stack_1.tif")
    assert labels.shape == (20, 72, 72)
    assert set(np.unique(labels)) == {0, 1, 2}


def test_mistakes_are_sentences(tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(SegNetError, match="is not empty"):
        write_data("canopy", tmp_path / "full")
    with pytest.raises(SegNetError, match="1 images are too few"):
        write_data("canopy", tmp_path / "new", 1)
    assert run(["tutorial-data", "canopi", "--out", str(tmp_path / "new")]) == 2
    assert "Did you mean 'canopy'" in capsys.readouterr().err
    assert run(["tutorial-data", "tissue", "--out", str(tmp_path / "new"), "--count", "2"]) == 0
    assert "planes further apart than pixels" in capsys.readouterr().out
