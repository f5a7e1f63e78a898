"""NumPy files: arrays of any axes, memory-mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_segnet.io.formats import RawImage


def read_npy(path: Path) -> RawImage:
    """Read a NumPy file; arrays of Python objects are refused, because loading them could execute code."""
    return RawImage(np.load(path, mmap_mode="r", allow_pickle=False))
