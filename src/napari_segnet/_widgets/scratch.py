"""Folders for images that are handed to the worker and for its answers: below the plugin's home, gone after use."""

from __future__ import annotations

import itertools
import os
import platform
import shutil
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import psutil

from napari_segnet.run import home

_DAY = 86_400
_numbers = itertools.count(1)
_owners: weakref.WeakSet[Scratch] = weakref.WeakSet()


class Scratch:
    """The folders of one session; `folders` are in use."""

    def __init__(self) -> None:
        self.folders: set[Path] = set()
        _owners.add(self)

    def new_folder(self) -> Path:
        """Return the path of a folder that doesn't exist yet."""
        path = home() / "predictions" / f"{os.getpid()}-{next(_numbers)}@{platform.node()}"
        self.folders.add(path)
        return path

    def remove_steps(self, folder: Path) -> Iterator[None]:
        """Delete a folder at the turn of the step."""
        self.folders.discard(folder)
        shutil.rmtree(folder, ignore_errors=True)
        yield

    def give_up(self) -> None:
        """Need none of them any more, though a worker may still write to one: `left_over_steps` takes them."""
        self.folders.clear()

    @staticmethod
    def left_over_steps() -> Iterator[None]:
        """Delete what viewers that crashed, or were closed while predicting, left behind, a folder a step."""
        parent = home() / "predictions"
        for folder in sorted(parent.iterdir()) if parent.is_dir() else []:
            if not any(folder in owner.folders for owner in _owners) and _is_left_over(folder):
                shutil.rmtree(folder, ignore_errors=True)
            yield


def _is_left_over(folder: Path) -> bool:
    pid, _, host = folder.name.partition("@")
    pid = pid.split("-")[0]
    if host != platform.node():
        # A home that machines share: the other one's processes can't be seen from here.
        return time.time() - folder.stat().st_mtime > _DAY
    return not pid.isdigit() or int(pid) == os.getpid() or not psutil.pid_exists(int(pid))
