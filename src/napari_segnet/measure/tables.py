"""Tables as files, and as features of a layer."""

from __future__ import annotations

import importlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_segnet.errors import ConfigError, DataError, SegNetError
from napari_segnet.measure.columns import describe
from napari_segnet.run import write_atomically

if TYPE_CHECKING:
    import pandas as pd

TableFormat = Literal["csv", "parquet"]
METADATA_KEY = b"napari_segnet"


def write_table(table: pd.DataFrame, path: Path | str) -> None:
    """Write a table as CSV or Parquet, by the ending of the name: .csv or .parquet.

    Parquet files hold under the metadata key ``napari_segnet`` a JSON text: unit and meaning of each column.

    Raises
    ------
    ConfigError
        If the ending is another, or Parquet is asked for and pyarrow isn't installed.
    SegNetError
        If the file can't be written.
    """
    path = Path(path)
    content = _parquet(table) if path.suffix == ".parquet" else _csv(table, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise SegNetError(
            f"{path} can't be written: {error.strerror or error}.", "Choose another folder, or free some room."
        ) from error


def _csv(table: pd.DataFrame, path: Path) -> str:
    if path.suffix != ".csv":
        raise ConfigError(f"{path} is no name for a table.", "It has to end with .csv or .parquet.")
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text


def _parquet(table: pd.DataFrame) -> bytes:
    arrow, parquet = check_parquet()
    columns = {c.name: {"unit": c.unit, "meaning": c.meaning} for c in describe(table.columns)}
    made = arrow.Table.from_pandas(table, preserve_index=False)
    made = made.replace_schema_metadata({**(made.schema.metadata or {}), METADATA_KEY: json.dumps(columns)})
    buffer = io.BytesIO()
    parquet.write_table(made, buffer)
    return buffer.getvalue()


def check_parquet() -> tuple[Any, Any]:
    """Return pyarrow and pyarrow.parquet; raises `ConfigError` where they aren't installed."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise ConfigError(
            "Parquet files need pyarrow, which isn't installed.",
            "Install it with: pip install 'napari-segnet[parquet]', or write CSV.",
        ) from None


def write_columns(tables: dict[str, pd.DataFrame], path: Path | str) -> None:
    """Write what the columns of some tables mean: a CSV with table, column, unit and meaning."""
    import pandas as pd

    rows = [
        {"table": name, "column": c.name, "unit": c.unit, "meaning": c.meaning}
        for name, table in tables.items()
        for c in describe(table.columns)
    ]
    write_table(pd.DataFrame(rows, columns=["table", "column", "unit", "meaning"]), path)


def layer_features(table: pd.DataFrame, **where: Any) -> pd.DataFrame:
    """Return a table of objects as a Labels layer of napari wants it: for ``layer.features``.

    Parameters
    ----------
    table : DataFrame
        Such as `Objects.table`, or one read from a file.
    **where
        Which rows, where it is of several images or time points: ``image="a"``, ``t=0``.

    Returns
    -------
    DataFrame
        With the numbers of the objects in a column ``index`` instead of ``label``: by it napari finds the row of the
        label under the mouse. What is the same for all rows, such as the image, is left out.

    Raises
    ------
    DataError
        If there is no column ``label`` or one of `where`, or a label occurs twice.
    """
    for name in ("label", *where):
        if name not in table.columns:
            raise DataError(f"The table has no column {name!r}.", f"It has: {', '.join(map(str, table.columns))}.")
    for name, value in where.items():
        table = table[table[name] == value]
    if table["label"].duplicated().any():
        number = table.loc[table["label"].duplicated(), "label"].iloc[0]
        raise DataError(
            f"The label {number} is there twice: the table is of several images or time points.",
            "Choose one, such as image='a' or t=0.",
        )
    kept = table.drop(columns=["label", "image", "t", "z"], errors="ignore").reset_index(drop=True)
    kept.insert(0, "index", table["label"].to_numpy())
    return kept
