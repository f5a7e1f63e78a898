"""Folders of images and labels before anything is learned from them: looked through, and made ready.

`check` says what is wrong with a data set, or odd; `prepare` resizes, crops, tiles, converts and splits it. Neither
changes a file that is there. No torch, no Qt.
"""

from __future__ import annotations

from napari_segnet.datasets.checking import Report, check
from napari_segnet.datasets.facts import Finding, ImageFacts
from napari_segnet.datasets.options import PrepareConfig
from napari_segnet.datasets.preparing import Prepared, prepare

__all__ = ["Finding", "ImageFacts", "PrepareConfig", "Prepared", "Report", "check", "prepare"]
