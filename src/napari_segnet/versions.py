"""Which versions made a model."""

from __future__ import annotations

import platform
from importlib import metadata

_PACKAGES = ("napari-segnet", "torch", "segmentation-models-pytorch", "numpy", "napari")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter; what isn't installed is left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
