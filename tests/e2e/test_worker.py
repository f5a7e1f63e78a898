"""The worker as the viewer sees it: a process that speaks JSON lines."""

import json
import queue
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
import tifffile

from conftest import discs, strokes
from napari_segnet import events
from napari_segnet.io.write import write_npy
from napari_segnet.run import RunFolder


class Worker:
    """Starts the worker, talks to it, and reads its events in a thread."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "napari_segnet.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line)

    def tell(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def until(self, kind, seconds=90):
        """Return the events up to and with the first one of a kind."""
        found, end = [], time.monotonic() + seconds
        while not found or not isinstance(found[-1], kind):
            found.append(events.from_json(self._lines.get(timeout=max(0.1, end - time.monotonic()))))
        return found


@pytest.fixture
def worker():
    made = Worker()
    yield made
    made.process.kill()
    made.process.wait()
    made.process.stdin.close()
    made.process.stdout.close()


def test_it_trains_predicts_and_ends_with_the_viewer(worker, make_run, tmp_path):
    ready = worker.until(events.Ready)[-1]
    assert ready.pid == worker.process.pid
    run = make_run(labels=strokes, train={"epochs": 8})
    worker.tell(command="train", run=str(run.path))
    told = worker.until(events.Finished)
    assert told[-1].reason == "completed"
    assert sum(isinstance(e, events.Epoch) for e in told) == 8

    image, mask = discs(40)
    write_npy(tmp_path / "view.npy", image)
    worker.tell(command="predict", model=str(run.path), out=str(tmp_path / "out"),
                inputs=[{"name": "view", "images": [str(tmp_path / "view.npy")], "axes": "YX"}])  # fmt: skip
    files = next(e for e in worker.until(events.Finished) if isinstance(e, events.Predicted)).files
    labels = np.load(files["labels"], mmap_mode="r")
    assert 2 * ((labels == 2) & (mask == 1)).sum() / ((labels == 2).sum() + mask.sum()) > 0.85
    assert np.load(files["probabilities"]).shape == (2, *image.shape)
    assert np.load(files["uncertainty"]).max() <= 1

    worker.tell(command="predict-files", model=str(run.path), inputs=[str(tmp_path / "view.npy")],
                out=str(tmp_path / "files"), uncertainty=False)  # fmt: skip
    assert worker.until(events.Finished)[-1].reason == "completed"
    assert sorted(p.name for p in (tmp_path / "files").iterdir()) == ["view.tif", "view_probabilities.tif"]
    assert np.array_equal(tifffile.imread(tmp_path / "files" / "view.tif"), labels)

    worker.process.stdin.close()
    assert worker.process.wait(20) == 0


def test_stop_is_heard_while_it_trains_and_the_next_job_is_taken(worker, make_run):
    worker.until(events.Ready)
    run = make_run(train={"epochs": 5000})
    worker.tell(command="train", run=str(run.path))
    worker.until(events.Epoch)
    worker.tell(command="stop")
    assert worker.until(events.Finished)[-1].reason == "stopped"
    assert run.state() == "interrupted"
    again = make_run("again")
    worker.tell(command="train", run=str(again.path))
    assert worker.until(events.Finished)[-1].reason == "completed"


def test_the_view_can_be_changed_while_it_trains(worker, make_run):
    worker.until(events.Ready)
    run = make_run(train={"epochs": 5000, "preview_seconds": 0.05})
    worker.tell(command="train", run=str(run.path))
    for origin in ((0, 0), (30, 40)):
        worker.tell(command="view", pair="i0", plane=0, origin=origin, shape=[20, 30])
        while worker.until(events.Preview)[-1].origin != origin:
            continue
    worker.tell(command="stop")
    assert worker.until(events.Finished)[-1].reason == "stopped"


def test_a_mistake_is_told_and_the_worker_lives_on(worker, tmp_path, make_run):
    worker.until(events.Ready)
    worker.tell(command="train", run=str(tmp_path / "nowhere"))
    failed = worker.until(events.Failed)[-1]
    assert "not a run folder" in failed.problem
    assert not failed.bug
    worker.tell(command="dance")
    assert worker.until(events.Failed)[-1].bug
    worker.tell(command="predict", model="nothing.safetensors", out=str(tmp_path), inputs=[])
    assert "inputs" in worker.until(events.Failed)[-1].problem
    worker.tell(command="train", run=str(make_run().path))
    assert worker.until(events.Finished)[-1].reason == "completed"


def test_a_viewer_that_dies_leaves_no_worker_and_a_run_that_can_go_on(worker, make_run):
    worker.until(events.Ready)
    run = make_run(train={"epochs": 5000})
    worker.tell(command="train", run=str(run.path))
    worker.until(events.Epoch)
    worker.process.stdin.close()
    assert worker.process.wait(30) == 0
    assert run.state() == "interrupted"
    assert RunFolder(run.path).last.exists()


def test_a_killed_worker_leaves_its_strokes(worker, make_run):
    worker.until(events.Ready)
    run = make_run(train={"epochs": 5000})
    before = np.load(run.pairs[0].labels)
    worker.tell(command="train", run=str(run.path))
    worker.until(events.Step)
    psutil.Process(worker.process.pid).kill()
    worker.process.wait()
    assert run.state() == "interrupted"
    assert np.array_equal(np.load(run.pairs[0].labels), before)


def test_it_lets_the_viewer_go_first(worker):
    worker.until(events.Ready)
    assert psutil.Process(worker.process.pid).nice() > psutil.Process().nice()
