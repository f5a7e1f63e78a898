"""Tables on their way between processes: one NumPy array a column, nothing pickled, numbers to the last bit."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_segnet.errors import DataError
from napari_segnet.run import write_atomically

if TYPE_CHECKING:
    import pandas as pd


def write_frame(table: pd.DataFrame, path: Path) -> None:
    """Write a table as ``.npz``; columns hold numbers, bools or texts."""
    arrays: dict[str, Any] = {f"c{number}": _plain(table.iloc[:, number]) for number in range(table.shape[1])}
    names = np.array(json.dumps([str(name) for name in table.columns]))
    content = io.BytesIO()
    np.savez(content, names=names, **arrays)
    write_atomically(path, content.getvalue())


def read_frame(path: Path) -> pd.DataFrame:
    """Read what `write_frame` has written; raises `DataError` for anything else."""
    import pandas as pd

    try:
        with np.load(path, allow_pickle=False) as file:
            names = json.loads(str(file["names"]))
            columns = [file[f"c{number}"] for number in range(len(names))]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"The table {path} can't be read: {error}.") from error
    table = pd.DataFrame(dict(enumerate(_text(column) for column in columns)))
    table.columns = pd.Index(names)
    return table


def _plain(column: pd.Series[Any]) -> np.ndarray[Any, Any]:
    """Return a column as numbers, bools or texts: a missing text is an empty one."""
    if column.dtype.kind in "biuf":
        return column.to_numpy()
    return np.array(["" if value is None or value != value else str(value) for value in column], dtype=np.str_)


def _text(column: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return column.astype(object) if column.dtype.kind == "U" else column
