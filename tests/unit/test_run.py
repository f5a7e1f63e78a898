import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_segnet import events
from napari_segnet.config import RunConfig
from napari_segnet.errors import RunFolderError
from napari_segnet.run import PairRecord, RunFolder, list_runs, new_run_path, write_atomically

PAIR = PairRecord(name="cells", images=("data/cells.npy",), labels="data/cells_labels.npy", axes="YX")


def test_a_new_folder_can_be_opened_again(tmp_path):
    RunFolder.create(tmp_path / "run", RunConfig().replace(train={"seed": 5}), [PAIR])
    run = RunFolder(tmp_path / "run")
    assert run.config.train.seed == 5
    assert run.pairs[0].images == (str(tmp_path / "run" / "data" / "cells.npy"),)
    assert run.state() == "new"


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(RunFolderError, match="not empty"):
        RunFolder.create(tmp_path, RunConfig())
    assert (tmp_path / "thesis.doc").read_text() == "years of work"


def test_something_else_is_not_a_run_folder(tmp_path):
    with pytest.raises(RunFolderError, match="no config.json"):
        RunFolder(tmp_path)


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"format": 2}', '{"trian": {}}'])
def test_a_damaged_configuration_is_said(tmp_path, damage):
    run = RunFolder.create(tmp_path / "run", RunConfig())
    (run.path / "config.json").write_text(damage)
    with pytest.raises(Exception, match=r"configuration|option|format|valid"):
        _ = run.config


@given(cut=st.integers(0, 200))
def test_events_survive_a_line_that_a_crash_cut_short(tmp_path_factory, cut):
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "run", RunConfig())
    written = [events.Notice("first"), events.Notice("second"), events.Finished("completed", "m")]
    for event in written:
        run.append(event)
    log = run.path / "events.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[: max(0, len(whole) - cut)])
    found = run.events()
    assert found == written[: len(found)]
    run.append(events.Notice("after the crash"))
    assert run.events()[-1] == events.Notice("after the crash")
    assert len(found) >= whole[: max(0, len(whole) - cut)].count(b"\n")


def test_history_has_a_column_for_every_number(tmp_path):
    run = RunFolder.create(tmp_path / "run", RunConfig())
    run.write_history([{"epoch": 1, "loss": 0.5, "val_dice": None}, {"epoch": 2, "loss": 0.25, "val_dice": 0.75}])
    assert (run.path / "history.csv").read_text() == "epoch,loss,val_dice\n1,0.5,\n2,0.25,0.75\n"


def test_states_follow_what_happened(tmp_path):
    run = RunFolder.create(tmp_path / "run", RunConfig())
    run.append(events.Started("r", "cpu"))
    assert run.state() == "interrupted"
    run.append(events.Finished("stopped"))
    assert run.state() == "interrupted"
    with run.lock():
        assert run.state() == "running"
    run.append(events.Finished("completed"))
    assert run.state() == "finished"


def test_a_run_of_another_living_process_can_not_be_taken(tmp_path):
    run = RunFolder.create(tmp_path / "run", RunConfig())
    code = (
        "import sys, time\nfrom napari_segnet.run import RunFolder\n"
        "with RunFolder(sys.argv[1]).lock():\n print('held', flush=True)\n time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunFolderError, match=f"in use by process {holder.pid}"), run.lock():
        pass
    holder.kill()
    holder.wait()
    # The lock file of a killed process is left behind; it must not keep anybody out.
    assert (run.path / "lock").exists()
    with run.lock():
        assert run.state() == "running"
    assert not (run.path / "lock").exists()


def test_a_run_on_another_machine_locks_until_it_is_silent(tmp_path):
    run = RunFolder.create(tmp_path / "run", RunConfig())
    lock = run.path / "lock"
    lock.write_text('{"pid": 7, "started": 1.0, "host": "gpu-server"}')
    assert run.state() == "running"
    with pytest.raises(RunFolderError, match="in use by process 7 on gpu-server"), run.lock():
        pass
    os.utime(lock, (1.0, 1.0))
    with run.lock():
        assert run.state() == "running"


def test_a_number_that_another_process_got_does_not_lock(tmp_path):
    run = RunFolder.create(tmp_path / "run", RunConfig())
    (run.path / "lock").write_text(f'{{"pid": {os.getpid()}, "started": 1.0}}')
    assert run.state() == "new"


def test_a_failed_write_keeps_the_previous_file(tmp_path, monkeypatch):
    target = tmp_path / "config.json"
    write_atomically(target, "before")

    def full(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, "after")
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_runs_are_listed_newest_first_and_names_never_clash(tmp_path):
    paths = []
    for age in (30, 20, 10):
        path = new_run_path(tmp_path, "cells")
        RunFolder.create(path, RunConfig())
        os.utime(path, (1e9 - age, 1e9 - age))
        paths.append(path)
    assert len(set(paths)) == 3
    assert [run.path for run in list_runs(tmp_path)] == paths[::-1]
    assert list_runs(tmp_path / "nowhere") == []
