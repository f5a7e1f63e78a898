"""How many objects of each class there are in an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_segnet.measure.objects import Objects

if TYPE_CHECKING:
    import pandas as pd


def count_objects(objects: Objects) -> pd.DataFrame:
    """Count the objects of each class.

    Parameters
    ----------
    objects : Objects
        Those of one image.

    Returns
    -------
    DataFrame
        A row a class, classes without objects among them: ``class``, ``class_name``, ``objects``, ``density`` (objects
        per unit of the whole image), and mean, median, standard deviation (of a sample) and sum of their areas or
        volumes in units; NaN where there are too few objects.
    """
    import pandas as pd

    table = objects.table
    size = "area" if objects.labels.ndim == 2 else "volume"
    whole = objects.labels.size * objects.grid.pixel
    rows = []
    for value, name in objects.class_names.items():
        sizes = table.loc[table["class"] == value, size]
        rows.append(
            {
                "class": value,
                "class_name": name,
                "objects": len(sizes),
                "density": len(sizes) / whole,
                f"mean_{size}": sizes.mean(),
                f"median_{size}": sizes.median(),
                f"sd_{size}": sizes.std(),
                f"total_{size}": sizes.sum(),
            }
        )
    columns = ["class", "class_name", "objects", "density"]
    return pd.DataFrame(rows, columns=[*columns, *(f"{word}_{size}" for word in ("mean", "median", "sd", "total"))])
