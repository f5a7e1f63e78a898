"""A model that was trained at the shell, on its way to other programs and back."""

import json
import re
import zipfile

import imageio.v3 as iio
import numpy as np
import onnxruntime
import pytest
import tifffile
import torch

from conftest import discs
from napari_segnet.cli import run
from napari_segnet.export.libraries import import_extra

TINY = ["--set", "model.options={width: 8, depth: 2, max_width: 16}", "--set", "train.patch_size=32",
        "--set", "train.steps_per_epoch=6", "--set", "train.batch_size=4", "--seed", "0"]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Images, a run folder that learned discs from them, and what its model predicts of another image."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(3):
        image, mask = discs(number)
        iio.imwrite(folder / "images" / f"{number}.png", (image.clip(0, 1) * 255).astype(np.uint8))
        iio.imwrite(folder / "labels" / f"{number}.png", mask)
    image, mask = discs(20, side=101)
    tifffile.imwrite(folder / "new.tif", (image.clip(0, 1) * 255).astype(np.uint8))
    assert shell("train", folder / "images", folder / "labels", "--out", folder / "run", "--epochs", 20, *TINY) == 0
    assert shell("predict", folder / "run", folder / "new.tif", "--out", folder / "ours", *EXACT) == 0
    labels = tifffile.imread(folder / "ours" / "new.tif")
    assert ((labels > 0) == (mask > 0)).mean() > 0.9
    return folder


EXACT = ["--probabilities", "--set", "precision=float32", "--device", "cpu"]


def shell(*arguments):
    return run([str(argument) for argument in arguments])


def predicts_the_same(data, model, out):
    assert shell("predict", model, data / "new.tif", "--out", out, *EXACT) == 0
    ours, theirs = (tifffile.imread(folder / "new_probabilities.tif") for folder in (data / "ours", out))
    assert np.abs(ours - theirs).max() < 1e-5
    assert np.array_equal(tifffile.imread(data / "ours" / "new.tif"), tifffile.imread(out / "new.tif"))


def test_onnx_is_written_checked_and_predicted_with(data, tmp_path, capsys):
    assert shell("export", data / "run", "--format", "onnx", "--out", tmp_path / "discs.onnx") == 0
    said = capsys.readouterr()
    assert re.search(r"onnx: largest difference \d\.\de-0[5-9], tried on 64 x 68, .* pixels", said.err)
    assert f"Written: {tmp_path / 'discs.onnx'} (discs.onnx, discs.onnx.json" in said.out
    predicts_the_same(data, tmp_path / "discs.onnx", tmp_path / "theirs")
    # As somebody would use it who never heard of us: grey values in, probabilities out.
    image = tifffile.imread(data / "new.tif")[:100, :100].astype(np.float32)
    found = onnxruntime.InferenceSession(tmp_path / "discs.onnx").run(None, {"image": image[None, None]})[0]
    ours = tifffile.imread(data / "ours" / "new_probabilities.tif")
    assert found.shape == (1, 2, 100, 100)
    assert np.abs(found[0, :, :60, :60] - ours[:, :60, :60]).max() < 1e-4


def test_torchscript_goes_into_a_folder(data, tmp_path):
    out = tmp_path / "folder"
    assert shell("export", data / "run", "--format", "torchscript", "--out", out) == 0
    test = [torch.from_numpy(np.load(out / f"model.pt.test_{kind}.npy")) for kind in ("input", "output")]
    assert torch.allclose(torch.jit.load(str(out / "model.pt"))(test[0]), test[1], atol=1e-5)
    predicts_the_same(data, out / "model.pt", tmp_path / "theirs")


def test_a_package_of_bioimage_io_goes_there_and_back(data, tmp_path, capsys):
    out = tmp_path / "discs.zip"
    options = ["--set", "name=bright discs", "--set", "authors=[Ada, Ben]", "--set", "license=CC0-1.0",
               "--set", f"test_image={data / 'new.tif'}"]  # fmt: skip
    assert shell("export", data / "run", "--format", "bioimageio", "--out", out, *options) == 0
    assert "bioimageio.core's test passed: torchscript, onnx" in capsys.readouterr().err
    assert import_extra("bioimageio.spec").load_description(out).name == "bright discs"
    with zipfile.ZipFile(out) as file:
        assert "# bright discs" in file.read("README.md").decode()
    predicts_the_same(data, out, tmp_path / "theirs")


def test_a_card_tells_the_scores_of_the_run(data, tmp_path):
    assert shell("export", data / "run", "--format", "card", "--out", tmp_path / "card.md") == 0
    text = (tmp_path / "card.md").read_text()
    config = json.loads((data / "run" / "config.json").read_text())
    assert f"learning_rate: {config['train']['learning_rate']}" in text
    assert re.search(r"\| Dice \| 0\.\d{4} \|", text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "onnxx"], "error: There is no format called 'onnxx'. Did you mean 'onnx'?"),
        (["--format", "onnx", "--set", "author=Ada"], "error: There is no option 'author'."),
        (["--format", "bioimageio", "--set", "license=mine"], "error: 'mine' is no licence that bioimage.io knows."),
        (["--format", "onnx", "--set", "test_image=missing.tif"], "error: There is no file missing.tif."),
    ],
)
def test_mistakes_are_said_in_one_line_and_leave_nothing_behind(arguments, message, data, tmp_path, capsys):
    assert shell("export", data / "run", "--out", tmp_path / "new", *arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_none_is_refused(tmp_path, capsys):
    (tmp_path / "m.safetensors").write_bytes(b"nothing")
    assert shell("export", tmp_path / "m.safetensors", "--format", "onnx", "--out", tmp_path / "m.onnx") == 2
    assert "m.safetensors is not a model file, or is damaged" in capsys.readouterr().err
    (tmp_path / "m.zip").write_bytes(b"nothing")
    assert shell("predict", tmp_path / "m.zip", tmp_path, "--out", tmp_path / "out") == 2
