"""What happens to the worker, the strokes and the docks when something ends before its time."""

from __future__ import annotations

import gc
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from napari_segnet._widgets import recovery
from napari_segnet._widgets.dock import SegmentationDock
from napari_segnet._widgets.sessions import session_of

pytestmark = pytest.mark.viewer


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def learn(dock: Any, qtbot: Any, epochs: int = 2) -> None:
    dock.session.train()
    qtbot.waitUntil(lambda: len(dock.session.progress.rows) >= epochs, timeout=10_000)


def stop(dock: Any, qtbot: Any) -> None:
    dock.session.settings.predict_when_finished = False
    dock.session.stop()
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)


def test_a_killed_worker_costs_one_click(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock()
    learn(dock, qtbot, 3)
    strokes = viewer.layers["strokes"].data.copy()
    psutil.Process(dock.session.client.pid).kill()
    qtbot.waitUntil(lambda: dock.session.phase == "broken", timeout=5000)
    qtbot.waitUntil(dock.train.resume.isVisible)
    assert dock.train.status.text() == (
        "The worker process was killed. Your strokes and all finished epochs are safe; press Resume to go on."
    )
    assert np.array_equal(viewer.layers["strokes"].data, strokes)
    done = len(dock.session.progress.rows)
    run = dock.session.models.run
    dock.train.resume.click()
    qtbot.waitUntil(lambda: len(dock.session.progress.rows) > done + 1, timeout=10_000)
    assert dock.session.models.run is run
    stop(dock, qtbot)


def test_a_worker_that_cannot_start_is_a_sentence(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock("--exit")
    assert dock.session.sentence.startswith("The worker process ended with code 3. Run 'napari-segnet doctor'")
    qtbot.waitUntil(lambda: "doctor" in dock.train.status.text())


def test_a_worker_killed_while_idle_comes_back(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock()
    psutil.Process(dock.session.client.pid).kill()
    qtbot.waitUntil(lambda: not dock.session.client.alive, timeout=5000)
    learn(dock, qtbot)
    stop(dock, qtbot)


@pytest.mark.parametrize("what", ["delete everything", "delete the image", "delete the strokes", "rename", "paint"])
def test_layers_may_change_while_it_learns(viewer: Any, open_dock: Any, spots: Any, qtbot: Any, what: str) -> None:
    dock = open_dock()
    image, strokes = spots
    learn(dock, qtbot)
    qtbot.waitUntil(lambda: "prediction" in viewer.layers, timeout=10_000)
    if what == "delete everything":
        viewer.layers.clear()
    elif what == "delete the image":
        viewer.layers.remove(image)
    elif what == "delete the strokes":
        viewer.layers.remove(strokes)
    elif what == "rename":
        image.name, strokes.name = "other", "marks"
        viewer.layers["prediction"].name = "mine"
    else:
        strokes.paint((40, 10), 1)
        viewer.layers["prediction"].paint((40, 10), 1)
    names = [layer.name for layer in viewer.layers]
    done = len(dock.session.progress.rows)
    qtbot.waitUntil(lambda: len(dock.session.progress.rows) > done + 8, timeout=10_000)
    if what in ("delete everything", "delete the image"):
        assert [layer.name for layer in viewer.layers] == names
    elif what == "rename":
        assert "prediction" not in viewer.layers
    assert dock.session.phase == "training"
    record = dock.session.models.run.pairs[0]
    assert np.load(record.labels).any()
    stop(dock, qtbot)


def test_two_docks_share_one_worker(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    first = open_dock(name="one")
    second = open_dock(name="two")
    assert first.session is second.session
    pid = first.session.client.pid
    learn(first, qtbot)
    qtbot.waitUntil(second.train.stop.isVisible)
    viewer.window.remove_dock_widget(first)
    qtbot.wait(50)
    assert second.session.client.pid == pid
    second.train.stop.click()
    qtbot.waitUntil(lambda: second.session.phase == "idle", timeout=10_000)
    viewer.window.remove_dock_widget(second)
    qtbot.waitUntil(lambda: gone(pid), timeout=8000)


def test_closing_the_dock_ends_the_worker_and_reopening_offers_the_run(
    viewer: Any, open_dock: Any, spots: Any, qtbot: Any
) -> None:
    dock = open_dock()
    learn(dock, qtbot, 3)
    pid = dock.session.client.pid
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: gone(pid), timeout=8000)
    again = open_dock(name="again")
    qtbot.waitUntil(again.offer.isVisible, timeout=5000)
    assert "Training on spots was interrupted after" in again.offer.words.text()
    done = recovery.epochs_done(again.session.offers.run)
    again.offer.resume.click()
    qtbot.waitUntil(lambda: len(again.session.progress.rows) > done, timeout=10_000)
    assert sorted(layer.name for layer in viewer.layers if "pr" not in layer.name) == ["spots", "strokes"]
    stop(again, qtbot)


def test_hiding_the_dock_changes_nothing(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock()
    learn(dock, qtbot)
    dock.parent().hide()
    done = len(dock.session.progress.rows)
    qtbot.waitUntil(lambda: len(dock.session.progress.rows) > done + 3, timeout=10_000)
    dock.parent().show()
    stop(dock, qtbot)


def test_closing_the_viewer_leaves_no_worker(make_napari_viewer: Any, qtbot: Any) -> None:
    from widgets.conftest import FAKE

    viewer = make_napari_viewer(show=True)
    viewer.add_image(np.random.default_rng(0).random((32, 32)), name="noise")
    dock = SegmentationDock(viewer, FAKE)
    viewer.window.add_dock_widget(dock, name="segnet")
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)
    pid = dock.session.client.pid
    viewer.close()
    qtbot.waitUntil(lambda: gone(pid), timeout=8000)


def test_the_session_goes_with_its_viewer(make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer()
    session = session_of(viewer)
    assert session_of(viewer) is session
    watched = weakref.ref(session)
    viewer.close()
    del session, viewer
    for _ in range(20):
        gc.collect()
        qtbot.wait(20)
        if watched() is None:
            break
    assert watched() is None


def test_an_interrupted_run_is_offered_in_a_new_viewer(
    viewer: Any, open_dock: Any, spots: Any, qtbot: Any, make_napari_viewer: Any, runs: Path
) -> None:
    dock = open_dock()
    qtbot.waitUntil(lambda: len(dock.session.data.classes) == 2)
    dock.session.data.set_class(2, name="square")
    learn(dock, qtbot, 3)
    image, strokes = spots[0].data.copy(), spots[1].data.copy()
    psutil.Process(dock.session.client.pid).kill()
    qtbot.waitUntil(lambda: dock.session.phase == "broken", timeout=5000)
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()

    again = open_dock(name="again")
    qtbot.waitUntil(again.offer.isVisible, timeout=5000)
    again.offer.restore.click()
    assert np.array_equal(viewer.layers["spots"].data, image)
    assert np.array_equal(viewer.layers["strokes"].data, strokes)
    assert tuple(viewer.layers["strokes"].scale) == (0.5, 0.25)
    assert tuple(viewer.layers["spots"].translate) == (3, 7)
    assert [c.name for c in again.session.data.classes] == ["class 1", "square"]
    # Once brought back, it is not offered again.
    assert recovery.interrupted_run(runs) is None


def test_strokes_come_back_beside_a_new_layer_of_their_name(
    viewer: Any, open_dock: Any, spots: Any, qtbot: Any, runs: Path
) -> None:
    dock = open_dock()
    learn(dock, qtbot, 3)
    strokes = spots[1].data.copy()
    psutil.Process(dock.session.client.pid).kill()
    qtbot.waitUntil(lambda: dock.session.phase == "broken", timeout=5000)
    viewer.window.remove_dock_widget(dock)
    viewer.layers["strokes"].data = np.zeros_like(strokes)

    again = open_dock(name="again")
    qtbot.waitUntil(again.offer.isVisible, timeout=5000)
    again.offer.restore.click()
    assert not viewer.layers["strokes"].data.any()
    assert np.array_equal(viewer.layers["strokes [1]"].data, strokes)
    assert again.session.data.labels is viewer.layers["strokes [1]"]


def test_not_now_is_remembered(viewer: Any, open_dock: Any, spots: Any, qtbot: Any, runs: Path) -> None:
    dock = open_dock()
    learn(dock, qtbot)
    psutil.Process(dock.session.client.pid).kill()
    qtbot.waitUntil(lambda: dock.session.phase == "broken", timeout=5000)
    assert recovery.interrupted_run(runs) is not None
    viewer.window.remove_dock_widget(dock)
    again = open_dock(name="again")
    qtbot.waitUntil(again.offer.isVisible, timeout=5000)
    again.offer.dismiss.click()
    qtbot.waitUntil(again.offer.isHidden)
    assert recovery.interrupted_run(runs) is None


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a matter of Unix")
def test_a_disk_that_takes_no_more_is_a_sentence_and_nothing_is_half_written(
    viewer: Any, open_dock: Any, qtbot: Any, runs: Path
) -> None:
    import resource

    image = np.random.default_rng(0).integers(0, 255, (1500, 2000), np.uint8)
    strokes = np.zeros(image.shape, np.uint8)
    strokes[10:20, 10:500], strokes[100:120, 10:500] = 1, 2
    viewer.add_image(image, name="large")
    viewer.add_labels(strokes, name="marks")
    dock = open_dock("--epochs", "2")
    qtbot.waitUntil(lambda: not dock.session.data.counting, timeout=10_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        dock.session.train()
        qtbot.waitUntil(lambda: dock.session.is_error, timeout=5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "can't be written" in dock.session.sentence
    assert "Make room on that disk" in dock.session.sentence
    assert dock.session.phase == "idle"
    assert not list(runs.rglob("*.npy"))
    assert np.array_equal(viewer.layers["marks"].data, strokes)
    # With room again the next click works.
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)


def test_a_folder_that_cannot_be_is_a_sentence(
    viewer: Any, open_dock: Any, spots: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dock = open_dock()
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NAPARI_SEGNET_HOME", str(tmp_path / "file" / "nowhere"))
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.is_error, timeout=5000)
    assert "can't be written" in dock.session.sentence
    assert dock.session.phase == "idle"


def test_the_event_loop_turns_while_a_large_image_is_saved(viewer: Any, open_dock: Any, qtbot: Any) -> None:
    image = np.random.default_rng(0).integers(0, 60000, (3000, 4000), np.uint16)
    labels = np.zeros(image.shape, np.uint8)
    labels[10:20, 10:500], labels[100:120, 10:500] = 1, 2
    viewer.add_image(image, name="large")
    viewer.add_labels(labels, name="marks")
    dock = open_dock("--epochs", "1")
    dock.session.settings.predict_when_finished = False
    qtbot.waitUntil(lambda: not dock.session.data.counting, timeout=10_000)
    longest, last = 0.0, time.perf_counter()
    dock.session.train()
    while dock.session.phase == "preparing":
        qtbot.wait(1)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    assert longest < 0.25
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=20_000)
