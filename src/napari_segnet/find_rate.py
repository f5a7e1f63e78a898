"""Find a learning rate for some data before anything is trained: ``napari-segnet find-rate``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from napari_segnet.config import RunConfig
from napari_segnet.devices import pick_device, reused_memory
from napari_segnet.executor import set_up
from napari_segnet.io.pairing import pair_files
from napari_segnet.io.records import make_records
from napari_segnet.run import RunFolder
from napari_segnet.training.loop import draw_batch
from napari_segnet.training.lr_finder import RateCurve, range_test, write_curve


def find_rate(images: Path, labels: Path, out: Path, config: RunConfig) -> RateCurve:
    """Do a range test with the network, the optimizer and the patches that a training would have.

    Parameters
    ----------
    images, labels : Path
        Files or folders, as for a training.
    out : Path
        Folder for ``rates.csv`` and ``rates.png``.
    config : RunConfig
        As for a training; presets fill in what isn't set.

    Returns
    -------
    RateCurve

    Raises
    ------
    SegNetError
        If something can't work, or the loss falls at no rate.
    """
    records = make_records(pair_files(images, labels), config.data.axes)
    device = pick_device(config.train.device)
    # Once is enough.
    config = config.replace(train={**config.train.explicit(), "find_rate": False})
    with tempfile.TemporaryDirectory(prefix="napari-segnet-") as scratch:
        ready, learner = set_up(RunFolder.create(Path(scratch) / "run", config, records), device)
        with reused_memory(device):
            curve = range_test(learner, lambda tried: draw_batch(tried, ready.lesson, learner.config, 0.0))
    write_curve(curve, out)
    return curve
