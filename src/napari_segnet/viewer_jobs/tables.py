"""Writing a table that the viewer shows to a file of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from napari_segnet import events
from napari_segnet.config import Frozen
from napari_segnet.frames import read_frame
from napari_segnet.measure.tables import write_table


class TableJob(Frozen):
    """The command ``write-table``: a table of `napari_segnet.frames`, and a file that ends with .csv or .parquet."""

    out: str
    table: str
    path: str


def write(job: TableJob, _should_stop: Callable[[], bool] = lambda: False) -> Iterator[events.Event]:
    """Write the table as CSV or Parquet; raises `SegNetError` if it can't be written."""
    write_table(read_frame(Path(job.table)), Path(job.path))
    yield events.Finished("completed")
