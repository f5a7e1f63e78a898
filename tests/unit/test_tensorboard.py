import importlib.util
import math

import pytest

from napari_segnet.errors import ConfigError
from napari_segnet.training.tensorboard import check_tensorboard, scalars

ROWS = [
    {"epoch": 1, "loss": 0.5, "val_loss": None, "learning_rate": 1e-3, "dice": 0.25, "val_dice": math.nan},
    {"epoch": 2, "loss": 0.25, "val_loss": 0.75, "learning_rate": 5e-4, "dice": 0.5, "val_dice": 0.125},
]


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_the_numbers_of_each_epoch_can_be_read_back(tmp_path):
    with scalars(tmp_path, True, 0) as write:
        for row in ROWS:
            write(row)
    found = read(tmp_path)
    assert found["loss"] == [(1, 0.5), (2, 0.25)]
    assert found["val_loss"] == [(2, 0.75)]
    assert found["val_dice"] == [(2, 0.125)]
    assert found["learning_rate"] == [(1, pytest.approx(1e-3)), (2, pytest.approx(5e-4))]
    assert "epoch" not in found
    # Resumed after the first epoch: the second is there once, as it became.
    with scalars(tmp_path, True, 1) as write:
        write({"epoch": 2, "loss": 0.125})
    assert read(tmp_path)["loss"] == [(1, 0.5), (2, 0.125)]


def test_without_being_asked_nothing_is_written(tmp_path):
    with scalars(tmp_path / "tensorboard", False, 0) as write:
        write(ROWS[0])
    assert not (tmp_path / "tensorboard").exists()


def test_a_missing_package_is_said_at_the_start(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"needs the package tensorboard.*pip install 'napari-segnet\[tensorboard\]'"):
        check_tensorboard()
    with pytest.raises(ConfigError, match="history.csv"), scalars(tmp_path, True, 0):
        pass
