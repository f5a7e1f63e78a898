import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image

from napari_segnet.cli import run
from napari_segnet.config import AugmentConfig, DataConfig, LabelClass, RunConfig
from napari_segnet.data.labels import IGNORE, PALETTE
from napari_segnet.errors import SegNetError
from napari_segnet.io.write import write_npy
from napari_segnet.run import PairRecord, RunFolder
from napari_segnet.training.augment import augment, window_size
from napari_segnet.training.augmentation_preview import preview_grid, preview_run, write_preview

TINY = {"patch_size": 32, "batch_size": 2, "seed": 3}


def windows(sides, channels=2):
    rng = np.random.default_rng(0)
    images = torch.tensor(rng.uniform(-1, 1, (3, channels, *sides)), dtype=torch.float32)
    return images, (images[:, 0] > 0).to(torch.uint8)


def cell(grid, row, column, side):
    top, left = row * (side + 2), column * (side + 2)
    return grid[..., top : top + side, left : left + side]


def test_a_row_is_a_window_its_unchanged_patch_first():
    config = AugmentConfig()
    images, targets = windows((window_size(32, config),) * 2)
    image, labels = preview_grid(images, targets, config, 32, rows=2, columns=4, seed=5)
    assert image.shape == (2, 2 * 34 - 2, 4 * 34 - 2)
    assert labels.shape == image.shape[1:]
    first = (images.shape[-1] - 32) // 2
    middle = slice(first, first + 32)
    for row in range(2):
        assert np.array_equal(cell(image, row, 0, 32), images[row, :, middle, middle])
        assert np.array_equal(cell(labels, row, 0, 32), targets[row, middle, middle])
    made = augment(images, targets, 32, config, torch.Generator().manual_seed(5 * 1_000_003 + 2))
    assert np.array_equal(cell(image, 1, 2, 32), made.images[1])
    assert np.array_equal(cell(labels, 1, 2, 32), made.targets[1])
    assert (labels[32:34] == IGNORE).all()
    assert (image[:, :, 32:34] == 1).all()


def test_of_volumes_middle_planes_are_shown():
    config = AugmentConfig()
    patch, spacing = (6, 16, 16), (4, 1, 1)
    images, targets = windows(window_size(patch, config, spacing), channels=1)
    image, labels = preview_grid(images, targets, config, patch, rows=9, columns=3, seed=0, spacing=spacing)
    assert image.shape == (1, 3 * 18 - 2, 3 * 18 - 2)
    first = (images.shape[-1] - 16) // 2
    middle = slice(first, first + 16)
    assert np.array_equal(cell(image, 2, 0, 16), images[2, :, 3, middle, middle])
    assert np.array_equal(cell(labels, 2, 0, 16), targets[2, 3, middle, middle])


def discs(side=96):
    y, x = np.indices((side, side))
    mask = ((y % 32 - 16) ** 2 + (x % 32 - 16) ** 2 < 81).astype(np.uint8)
    return (mask * 150 + 40 + (x % 7)).astype(np.uint8), mask


@pytest.fixture
def files(tmp_path):
    image, mask = discs()
    iio.imwrite(tmp_path / "i.png", image)
    iio.imwrite(tmp_path / "i_mask.png", mask)
    return tmp_path / "i.png", tmp_path / "i_mask.png"


def test_files_become_a_picture_and_its_labels(files, tmp_path):
    config = RunConfig().replace(train=TINY)
    paths = write_preview(*files, tmp_path / "new" / "out", config, rows=3, columns=4)
    assert [p.name for p in paths] == ["augmentation.png", "augmentation_labels.png"]
    picture, labels = iio.imread(paths[0]), np.asarray(Image.open(paths[1]))
    assert picture.shape == (3 * 34 - 2, 4 * 34 - 2, 3)
    assert labels.shape == picture.shape[:2]
    assert set(np.unique(labels)) == {0, 1}
    bright = cell(picture[..., 0], 1, 0, 32) > 128
    assert np.array_equal(bright, cell(labels, 1, 0, 32) == 1)
    palette = np.reshape(Image.open(paths[1]).getpalette(), (-1, 3))
    assert "#{:02x}{:02x}{:02x}".format(*palette[1]) == PALETTE[1]


def test_labels_have_the_values_of_label_images(tmp_path):
    image, mask = discs()
    run_folder = RunFolder.create(
        tmp_path / "run",
        RunConfig(
            data=DataConfig(
                task="semantic",
                unlabelled="ignore",
                classes=(
                    LabelClass(value=7, name="ground", colour="#112233"),
                    LabelClass(value=300, name="disc", colour="#445566"),
                ),
            )
        ).replace(train={**TINY, "forest_guide": False}),
    )
    labels = np.where(mask, 300, 7).astype(np.uint16)
    labels[:40] = 0
    write_npy(run_folder.data / "i.npy", np.stack([image, image // 2]))
    write_npy(run_folder.data / "l.npy", labels)
    run_folder.set_pairs([PairRecord(name="i", axes="CYX", images=("data/i.npy",), labels="data/l.npy")])
    before = sorted(run_folder.path.rglob("*"))
    made = preview_run(run_folder, rows=2, columns=3)
    assert set(np.unique(made.labels)) == {0, 7, 300}
    assert made.colours == {7: "#112233", 300: "#445566"}
    assert np.array_equal(made.image[..., 0], made.image[..., 2])  # two channels: magenta and green
    assert sorted(run_folder.path.rglob("*")) == before
    assert not np.array_equal(preview_run(run_folder, rows=2, columns=3, seed=1).image, made.image)


def test_at_a_shell(files, tmp_path, capsys):
    arguments = [
        "preview-augmentation",
        *map(str, files),
        "--out",
        str(tmp_path / "out"),
        "--rows",
        "2",
        "--columns",
        "3",
    ]
    assert run([*arguments, "--set", "train.patch_size=32", "--set", "train.augment.copy_paste=0.5"]) == 0
    assert str(tmp_path / "out" / "augmentation.png") in capsys.readouterr().out
    assert iio.imread(tmp_path / "out" / "augmentation.png").shape == (66, 100, 3)
    assert run([*arguments, "--task", "instances", "--set", "train.patch_size=32"]) == 0
    assert set(np.unique(Image.open(tmp_path / "out" / "augmentation_labels.png"))) == {0, 1, 2}
    assert run([*arguments, "--set", "train.augment.nonsense=1"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_said(files):
    with pytest.raises(SegNetError, match="can't be written"):
        write_preview(*files, files[0], RunConfig().replace(train=TINY), rows=1, columns=2)
