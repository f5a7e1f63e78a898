"""The history of a run for TensorBoard, in RUN/tensorboard: ``tensorboard --logdir RUN`` shows its curves."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from napari_segnet.errors import ConfigError

Row = Mapping[str, float | int | None]


def check_tensorboard() -> None:
    """Raise `ConfigError` where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "train.tensorboard needs the package tensorboard.",
            "pip install 'napari-segnet[tensorboard]', or leave it out: RUN/history.csv has the same numbers.",
        )


@contextlib.contextmanager
def scalars(folder: Path, wanted: bool, epochs: int) -> Iterator[Callable[[Row], None]]:
    """Give a function that writes a row of the history, a scalar for each of its numbers.

    Parameters
    ----------
    folder : Path
        Gets an event file.
    wanted : bool
        Otherwise nothing is written.
    epochs : int
        Epochs that are done already, in a run that is resumed: what came after them is hidden.

    Raises
    ------
    ConfigError
        If TensorBoard is wanted, but not installed.
    """
    if not wanted:
        yield lambda _row: None
        return
    check_tensorboard()
    module: Any = importlib.import_module("torch.utils.tensorboard")
    writer = module.SummaryWriter(str(folder), purge_step=epochs + 1 if epochs else None)

    def write(row: Row) -> None:
        for name, value in row.items():
            if name != "epoch" and value is not None and math.isfinite(value):
                writer.add_scalar(name, value, int(row["epoch"] or 0))
        writer.flush()

    try:
        yield write
    finally:
        writer.close()
