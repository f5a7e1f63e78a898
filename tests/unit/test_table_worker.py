"""The viewer's second worker, as a stream of lines: jobs in, events and files out."""

import json
import queue

import numpy as np
import pytest

from napari_segnet import events
from napari_segnet.frames import read_frame
from napari_segnet.table_worker import JOBS, TableWorker


class Commands:
    """Lines that come one after another; the next one when the answer to the last is there."""

    def __init__(self):
        self.lines = queue.Queue()

    def __iter__(self):
        while (line := self.lines.get()) is not None:
            yield line


class Answers:
    """Keeps events, and gives the next command at the end of each job."""

    def __init__(self, commands, jobs):
        self.events, self._commands, self._jobs = [], commands, list(jobs)

    def write(self, line):
        event = events.from_json(line)
        self.events.append(event)
        if isinstance(event, events.Ready | events.Finished | events.Failed):
            self._commands.lines.put(self._jobs.pop(0) if self._jobs else None)

    def flush(self):
        pass


def work(*jobs):
    """Have the worker do some jobs; returns what it said."""
    commands = Commands()
    answers = Answers(commands, [job if isinstance(job, str) else json.dumps(job) for job in jobs])
    TableWorker(commands, answers).run(events.Ready("cpu", 1))
    return answers.events


@pytest.fixture
def labels(tmp_path):
    array = np.zeros((3, 30, 30), np.uint8)
    array[0, 2:6, 2:6], array[2, 10:20, 10:15] = 1, 2
    np.save(tmp_path / "labels.npy", array)
    return {"path": str(tmp_path / "labels.npy"), "axes": "TYX"}


def test_objects_are_numbered_on_and_on_over_time(labels, tmp_path):
    told = work({"command": "measure", "out": str(tmp_path / "out"), "labels": labels})
    assert [type(event).__name__ for event in told] == ["Ready", *["Progress"] * 3, "Finished"]
    objects = read_frame(tmp_path / "out" / "objects.npz")
    assert list(objects["t"]) == [0, 2]
    assert list(objects["label"]) == [1, 2]
    assert list(objects["area"]) == [16, 50]
    numbers = np.load(tmp_path / "out" / "objects.npy")
    assert numbers.dtype == np.uint8
    assert (numbers[0].max(), numbers[1].max(), numbers[2].max()) == (1, 0, 2)
    cover = read_frame(tmp_path / "out" / "cover.npz")
    assert list(cover["t"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert json.loads((tmp_path / "out" / "meaning.json").read_text())["task"] == "semantic"


def test_regions_belong_to_their_time(labels, tmp_path):
    square = [[0, -0.5, -0.5], [0, -0.5, 9.5], [0, 9.5, 9.5], [0, 9.5, -0.5]]
    everywhere = [point[1:] for point in square]
    regions = [{"vertices": square, "kind": "polygon", "name": "first"}, {"vertices": everywhere, "kind": "polygon"}]
    work({"command": "measure", "out": str(tmp_path / "out"), "labels": labels, "regions": regions})
    found = read_frame(tmp_path / "out" / "regions.npz")
    counted = found.groupby(["t", "region_name"])["objects"].sum()
    assert counted.to_dict() == {
        (0, "first"): 1, (0, "region 2"): 1, (1, "region 2"): 0, (2, "region 2"): 0,
    }  # fmt: skip


def test_mistakes_are_told_and_the_next_job_is_done(labels, tmp_path):
    out = {"out": str(tmp_path / "out")}
    told = work(
        "no JSON",
        {"command": "dance"},
        {"command": "measure", **out},
        {"command": "measure", **out, "labels": {"path": "nowhere.npy", "axes": "YX"}},
        {"command": "suggest", **out, "image": labels, "method": "otso"},
        {"command": "measure", **out, "labels": labels, "options": {"tables": ["objcts"]}},
        {"command": "measure", **out, "labels": labels},
    )
    failed = [event for event in told if isinstance(event, events.Failed)]
    assert [event.bug for event in failed] == [True, True, False, False, False, False]
    assert "labels" in failed[2].problem
    assert "nowhere.npy" in failed[3].problem
    assert "Did you mean 'otsu'?" in failed[4].remedy
    assert isinstance(told[-1], events.Finished)


def test_all_jobs_exist():
    from importlib import import_module

    for room, model, function in JOBS.values():
        module = import_module(f"napari_segnet.viewer_jobs.{room}")
        assert {"out"} <= set(getattr(module, model).model_fields)
        assert callable(getattr(module, function))


def test_a_job_that_is_stopped_leaves_no_tables(labels, tmp_path):
    from napari_segnet.viewer_jobs.measuring import MeasureJob, measure

    asked = iter([False, True])
    job = MeasureJob(out=str(tmp_path / "out"), labels=labels)
    told = list(measure(job, lambda: next(asked)))
    assert told[-1] == events.Finished("stopped")
    assert not (tmp_path / "out").exists()
