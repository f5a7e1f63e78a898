"""Volumes, end to end: a few painted planes in, a volume of labels out, at the shell, from Python and in the loop."""

import numpy as np
import pytest
import tifffile

import napari_segnet as segnet
from napari_segnet import events
from napari_segnet.cli import run as command
from napari_segnet.config import RunConfig
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.executor import Control, execute
from napari_segnet.models.info import read_info
from napari_segnet.preview import View
from napari_segnet.run import PairRecord, RunFolder

TINY = ["model.options={width: 8, depth: 2}", "train.patch_size=[16, 24, 24]", "train.batch_size=2",
        "train.steps_per_epoch=10", "train.warmup_steps=2"]  # fmt: skip


def balls(seed, shape=(20, 40, 44)):
    """Return a noisy volume with bright balls, (Z, Y, X) float32, and where they are."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape)
    mask = np.zeros(shape, np.uint8)
    for _ in range(6):
        centre = rng.uniform(0, shape)
        mask |= (sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)) < rng.uniform(4, 7) ** 2).astype(
            np.uint8
        )
    return (mask * 0.8 + rng.normal(0, 0.2, shape)).astype(np.float32), mask


def dice(a, b):
    return 2 * (a & b).sum() / max(1, a.sum() + b.sum())


def some_planes(mask):
    """Return labels of three planes (1 ground, 2 balls); nothing is said of all others."""
    labels = np.zeros_like(mask)
    labels[4::6] = mask[4::6] + 1
    return labels


@pytest.fixture(scope="module")
def model():
    image, mask = balls(0)
    return segnet.train(
        image, some_planes(mask), network="dynunet", axes="ZYX", unlabelled="ignore", epochs=12, settings=TINY
    )


def test_a_few_painted_planes_teach_a_volume(model):
    image, mask = balls(5)
    result = model.predict(image, axes="ZYX")
    assert result.labels.shape == image.shape
    assert result.probabilities.shape == (2, *image.shape)
    assert result.uncertainty.shape == image.shape
    assert dice(result.labels == 2, mask == 1) > 0.85
    assert model.info.axes == "ZYX"
    assert model.info.patch_size == (16, 24, 24)


def test_a_volume_over_time_keeps_its_axes(model):
    movie = np.stack([balls(6)[0], balls(7)[0]])
    result = model.predict(movie, axes="TZYX")
    assert result.labels.shape == movie.shape
    assert np.array_equal(result.labels[1], model.predict(movie[1], axes="ZYX").labels)


def test_planes_are_refused_in_a_sentence(model):
    with pytest.raises(DataError, match=r"axes YX is no volume.*network for planes"):
        model.predict(balls(0)[0][0], axes="YX")


def test_at_the_shell_volumes_go_in_and_come_out(tmp_path, capsys):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for number in range(2):
        image, mask = balls(number)
        for folder, array in (("images", image), ("labels", mask)):
            tifffile.imwrite(tmp_path / folder / f"v{number}.tif", array, metadata={"axes": "ZYX"}, imagej=True)
    options = [word for setting in TINY for word in ("--set", setting)]
    run = tmp_path / "run"
    asked = ["train", str(tmp_path / "images"), str(tmp_path / "labels"), "--out", str(run), "--network", "dynunet"]
    assert command([*asked, "--epochs", "3", *options]) == 0
    info = read_info(run)
    assert info.axes == "ZYX"
    assert [c.value for c in info.classes] == [0, 1]
    out = tmp_path / "out"
    assert (
        command(["predict", str(run), str(tmp_path / "images" / "v0.tif"), "--out", str(out), "--probabilities"]) == 0
    )
    assert tifffile.imread(out / "v0.tif").shape == (20, 40, 44)
    with tifffile.TiffFile(out / "v0_probabilities.tif") as file:
        assert file.series[0].shape == (20, 2, 40, 44)
    tifffile.imwrite(tmp_path / "flat.tif", balls(0)[0][0])
    capsys.readouterr()
    assert command(["predict", str(run), str(tmp_path / "flat.tif"), "--out", str(out)]) == 2
    assert "is no volume" in capsys.readouterr().err


def test_the_plane_that_is_looked_at_is_shown_while_it_learns(tmp_path):
    image, mask = balls(0)
    np.save(tmp_path / "i.npy", image)
    np.save(tmp_path / "l.npy", mask)
    record = PairRecord(name="v", images=(str(tmp_path / "i.npy"),), labels=str(tmp_path / "l.npy"), axes="ZYX")
    options = {"width": 8, "depth": 2}
    train = {"patch_size": (16, 24, 24), "batch_size": 2, "epochs": 1, "steps_per_epoch": 12, "preview_seconds": 0.01}
    config = RunConfig().replace(model={"network": "dynunet", "options": options}, train=train)
    run = RunFolder.create(tmp_path / "run", config, [record])
    control = Control(view=View("v", 7, (5, 6), (20, 21)))
    shown = [event for event in execute(run, control) if isinstance(event, events.Preview)]
    assert shown
    assert (shown[-1].plane, tuple(shown[-1].origin)) == (7, (5, 6))
    assert np.load(shown[-1].labels).shape == (20, 21)
    assert np.load(shown[-1].probabilities).shape == (2, 20, 21)


def test_a_model_of_planes_looks_along_three_axes(tmp_path, capsys):
    image, mask = balls(0)
    settings = ["model.options={width: 8, depth: 2}", "train.patch_size=32", "train.steps_per_epoch=10"]
    planes = segnet.train(
        image, mask, network="plain-unet", axes="ZYX", unlabelled="background", epochs=4, settings=settings
    )
    unseen, truth = balls(8)
    alone = planes.predict(unseen, axes="ZYX")
    together = planes.predict(unseen, axes="ZYX", orthoplanes=True)
    assert together.labels.shape == unseen.shape
    assert together.probabilities.shape == (2, *unseen.shape)
    assert dice(together.labels == 1, truth == 1) > dice(alone.labels == 1, truth == 1) - 0.02
    assert dice(together.labels == 1, truth == 1) > 0.8
    with pytest.raises(DataError, match="is no volume"):
        planes.predict(unseen[0], axes="YX", orthoplanes=True)
    path = planes.save(tmp_path / "m.safetensors")
    tifffile.imwrite(tmp_path / "v.tif", unseen, metadata={"axes": "ZYX"}, imagej=True)
    assert command(["predict", str(path), str(tmp_path / "v.tif"), "--out", str(tmp_path / "o"), "--orthoplanes"]) == 0
    assert np.array_equal(tifffile.imread(tmp_path / "o" / "v.tif"), together.labels)


def test_orthoplanes_of_a_model_of_volumes_are_refused(model):
    with pytest.raises(ConfigError, match="sees volumes already"):
        model.predict(balls(0)[0], axes="ZYX", orthoplanes=True)
