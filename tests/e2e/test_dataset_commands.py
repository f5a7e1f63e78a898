"""`napari-segnet check` and `prepare` at the shell: what is printed, written, and refused."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_segnet import cli
from napari_segnet.io.images import open_image


@pytest.fixture
def data(tmp_path):
    """Ten photographs with masks of 0 and 255."""
    for number in range(10):
        noise = np.random.default_rng(number)
        image = np.kron(noise.normal(110, 30, (6, 8, 3)), np.ones((10, 10, 1))).clip(0, 250).astype(np.uint8)
        mask = np.zeros((60, 80), np.uint8)
        mask[10:40, 10 + number : 50] = 255
        for folder, array in (("images", image), ("masks", mask)):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "data" / folder / f"plot{number % 5}_{number}.png")
    return tmp_path / "data"


def said(capsys):
    """Return what was printed, and what a failed command said: one line that starts with ``error: ``."""
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in err
    return out, lines


def test_a_data_set_is_checked_prepared_and_checked_again(data, tmp_path, capsys):
    assert cli.run(["check", str(data), "--out", str(tmp_path / "c")]) == 0
    out, errors = said(capsys)
    assert errors == []
    assert "10 images with labels" in out
    assert "0 and 255: the class has the value 255" in out
    assert f"{tmp_path / 'c' / 'check.html'}" in out
    assert (tmp_path / "c" / "check.html").exists()

    command = ["prepare", str(data), "--out", str(tmp_path / "p"), "--type", "understory", "--relabel", "255=1"]
    command += ["--val-fraction", "0.2", "--test-fraction", "0.2", "--group", "^(plot[0-9])_", "--seed", "4"]
    assert cli.run(command) == 0
    out, errors = said(capsys)
    assert f"Written: {tmp_path / 'p'} (10 images: train 6, val 2, test 2)" in out
    names = {p.name for p in (tmp_path / "p").rglob("images/*.tif")}
    assert len(names) == 10
    for part in ("train", "val", "test"):
        plots = [p.name.split("_")[0] for p in (tmp_path / "p" / part / "images").iterdir()]
        assert all(plots.count(plot) == 2 for plot in plots)
        for path in (tmp_path / "p" / part / "masks").iterdir():
            assert set(np.unique(tifffile.imread(path))) == {0, 1}
    assert open_image(next((tmp_path / "p" / "train" / "images").iterdir())).shape == (256, 160, 3)

    assert cli.run(["check", str(tmp_path / "p")]) == 0
    out, _ = said(capsys)
    assert "10 images: train 6, val 2, test 2" in out
    assert "every class is in every part" in out


def test_data_that_cant_be_learned_from_end_with_2_and_the_table_says_why(data, tmp_path, capsys):
    Image.fromarray(np.zeros((30, 80), np.uint8)).save(data / "masks" / "plot1_1.png")
    assert cli.run(["check", str(data), "--out", str(tmp_path / "c")]) == 2
    out, errors = said(capsys)
    assert "the labels are 30 x 80, the image is 60 x 80" in out
    assert errors == ["error: label sizes: this can't be learned from as it is. The table says what to do."]
    tree = json.loads((tmp_path / "c" / "check.json").read_text())
    assert [f["name"] for f in tree["findings"] if f["status"] == "fail"] == ["label sizes"]


def test_warnings_end_with_0(data, capsys):
    (data / "masks" / "plot1_1.png").unlink()
    assert cli.run(["check", str(data)]) == 0
    assert "without labels: plot1_1" in said(capsys)[0]


def test_two_folders_and_what_labels_mean(data, capsys):
    folders = [str(data / "images"), str(data / "masks")]
    assert cli.run(["check", *folders, "--unlabelled", "background", "--ignore", "7"]) == 0
    assert "0 is background" in said(capsys)[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "NOWHERE"], "There is no file or folder"),
        (["check", "EMPTY"], "holds no images"),
        (["prepare", "NOWHERE", "--out", "OUT"], "There is no file or folder"),
        (["prepare", "DATA", "--out", "OUT", "--size", "big"], "size = 'big': write WIDTHxHEIGHT"),
        (["prepare", "DATA", "--out", "OUT", "--relabel", "255"], "--relabel '255' is not OLD=NEW"),
        (["prepare", "DATA", "--out", "OUT", "--overlap", "4"], "overlap does nothing without tile"),
        (["prepare", "DATA", "--out", "DATA"], "exists, and holds other things"),
        (["prepare", "DATA"], "--out"),
    ],
)
def test_mistakes_are_one_sentence_and_nothing_is_written(data, tmp_path, capsys, arguments, sentence):
    (tmp_path / "empty").mkdir()
    places = {"NOWHERE": "nowhere", "EMPTY": "empty", "OUT": "out", "DATA": "data"}
    before = sorted(tmp_path.rglob("*"))
    assert cli.run([str(tmp_path / places[a]) if a in places else a for a in arguments]) == 2
    _, errors = said(capsys)
    assert len(errors) == 1
    assert sentence in errors[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_tiles_of_eight_bit_greys_as_png(data, tmp_path, capsys):
    command = ["prepare", str(data / "images"), "--out", str(tmp_path / "p"), "--tile", "40x30", "--overlap", "0"]
    assert cli.run([*command, "--colour", "grey", "--format", "png"]) == 0
    assert "(40 images)" in said(capsys)[0]
    tiles = sorted((tmp_path / "p" / "images").iterdir())
    assert tiles[0].name == "plot0_0_y0000_x0000.png"
    assert np.asarray(Image.open(tiles[0])).shape == (30, 40)
    assert cli.run([*command, "--color", "rgb", "--overwrite"]) == 0
    assert "(40 images)" in said(capsys)[0]
    assert not list((tmp_path / "p" / "images").glob("*.png"))
