"""Import of the libraries of the extra ``export``."""

from __future__ import annotations

import importlib
from typing import Any

from napari_segnet.errors import SegNetError


def import_extra(name: str) -> Any:
    """Import a library of the extra ``export``.

    Parameters
    ----------
    name : str
        Such as ``"onnxscript"``, or ``"bioimageio.core"``.

    Raises
    ------
    SegNetError
        If it is not installed, or can't be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SegNetError(
            f"This needs {name}, which can't be imported: {error}.", 'pip install "napari-segnet[export]"'
        ) from error
