"""A small world to learn: bright discs on a dark, noisy ground."""

import numpy as np
import pytest
from skimage.draw import disk

from napari_segnet.config import RunConfig, merge
from napari_segnet.io.write import write_npy
from napari_segnet.run import PairRecord, RunFolder

TINY = {
    "model": {"network": "plain-unet", "options": {"width": 8, "depth": 2, "max_width": 16}},
    "train": {"epochs": 3, "steps_per_epoch": 6, "batch_size": 4, "patch_size": 32, "warmup_steps": 2, "seed": 1},
}


def discs(seed, side=96, number=7):
    """Return an image of discs (Y, X) float32 and their mask."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((side, side), np.uint8)
    for _ in range(number):
        rows, columns = disk(rng.uniform(0, side, 2), rng.uniform(6, 12), shape=mask.shape)
        mask[rows, columns] = 1
    return (mask * 0.8 + rng.normal(0, 0.15, mask.shape)).astype(np.float32), mask


def strokes(mask):
    """Return strokes of 1 on the ground and 2 on the discs."""
    labels = np.zeros_like(mask)
    labels[::12, 4:-4] = mask[::12, 4:-4] + 1
    return labels


@pytest.fixture
def make_run(tmp_path):
    """Return a function that makes a run folder of small images."""

    def make(name="run", images=1, labels=lambda mask: mask, **settings):
        run = RunFolder.create(tmp_path / name, RunConfig().replace(**merge(TINY, settings)))
        records = []
        for number in range(images):
            image, mask = discs(number)
            write_npy(run.data / f"i{number}.npy", image)
            write_npy(run.data / f"l{number}.npy", labels(mask))
            files = {"images": (f"data/i{number}.npy",), "labels": f"data/l{number}.npy"}
            records.append(PairRecord(name=f"i{number}", axes="YX", **files))
        run.set_pairs(records)
        return run

    return make
