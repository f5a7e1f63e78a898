"""A real viewer, a dock whose worker is the fake one, and a check that no process is left behind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from napari_segnet._widgets.dock import SegmentationDock

FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the runs: never the user's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("NAPARI_SEGNET_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """Fail if a worker lives on after its viewer."""
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    yield
    mine = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
    _, alive = psutil.wait_procs(mine, timeout=8)
    assert not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any], qtbot: Any) -> Iterator[Any]:
    made = make_napari_viewer(show=True)
    yield made
    # The worker is asked to end while the event loop still turns.
    if hasattr(made.window, "_qt_window"):
        made.window.remove_dock_widget("all")
    qtbot.wait(50)


@pytest.fixture
def open_dock(viewer: Any, qtbot: Any) -> Callable[..., SegmentationDock]:
    """Open the dock in the viewer, with the fake worker and its options."""

    def make(*options: str, wait: bool = True, name: str = "segnet") -> SegmentationDock:
        dock = SegmentationDock(viewer, (*FAKE, *options))
        viewer.window.add_dock_widget(dock, name=name)
        if wait:
            qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)
        return dock

    return make


@pytest.fixture
def spots(viewer: Any) -> tuple[Any, Any]:
    """A dark image with a bright square, and two strokes: 1 on the dark, 2 on the bright."""
    image = np.zeros((64, 80), np.uint8)
    image[16:48, 20:60] = 200
    strokes = np.zeros((64, 80), np.uint8)
    strokes[2:5, 5:70] = 1
    strokes[30:33, 25:55] = 2
    place = {"scale": (0.5, 0.25), "translate": (3, 7), "units": ("um", "um")}
    return viewer.add_image(image, name="spots", **place), viewer.add_labels(strokes, name="strokes", **place)
