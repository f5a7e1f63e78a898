"""What a user finds in the clipboard after "Copy as"."""

from __future__ import annotations

import ast
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_segnet import script
from napari_segnet.run import RunFolder

pytestmark = pytest.mark.viewer


def learn(dock: Any, qtbot: Any, viewer: Any) -> None:
    """Train, and wait until the prediction that follows is in the layers."""
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    qtbot.waitUntil(lambda: dock.session.phase == "idle" and "uncertainty" in viewer.layers, timeout=10_000)


def copied(dock: Any, name: str) -> str:
    """Choose an entry of the menu; returns the clipboard."""
    QApplication.clipboard().setText("")
    (action,) = [action for action in dock.predict.copy.menu().actions() if action.text() == name]
    action.trigger()
    return QApplication.clipboard().text()


def commands(text: str) -> list[list[str]]:
    return [shlex.split(line) for line in text.replace("\\\n", " ").splitlines()]


@pytest.fixture(autouse=True)
def posix(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is that of a POSIX shell, whatever these tests run on."""
    monkeypatch.setattr(script, "command_line", partial(script.command_line, windows=False))


def test_painted_layers_are_repeated_from_the_run(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock("--epochs", "2")
    assert not dock.predict.copy.isEnabled()
    qtbot.waitUntil(lambda: len(dock.session.data.classes) == 2)
    dock.session.data.set_class(2, name="bright square")
    dock.session.settings.advanced["train.patch_size"] = 96
    learn(dock, qtbot, viewer)
    qtbot.waitUntil(dock.predict.copy.isEnabled)
    run: RunFolder = dock.session.models.run
    train, predict = commands(copied(dock, "Command line"))
    new = f"{run.path}-again"
    assert train[:5] == ["napari-segnet", "train", str(run.path), "--out", new]
    assert train[train.index("--unlabelled") + 1] == "ignore"
    assert "train.patch_size=96" in train
    (classes,) = [word for word in train if word.startswith("data.classes=")]
    assert '{value: 2, name: "bright square"' in classes
    # The layer is in no file, but the run has a copy of it.
    assert predict[:4] == ["napari-segnet", "predict", new, str(run.data / "spots.npy")]
    assert predict[predict.index("--axes") + 1] == "YX"
    assert "--uncertainty" in predict
    assert dock.session.sentence == "Copied as a command line: paste it where it is to run."
    code = copied(dock, "Python")
    tree = ast.parse(code)
    assert [ast.unparse(node.value.func) for node in tree.body if isinstance(node, ast.Assign)] == [
        "segnet.train",
        "model.predict",
    ]
    assert str(run.path) in code


def test_files_are_named_as_files(viewer: Any, open_dock: Any, qtbot: Any, tmp_path: Path) -> None:
    image = np.zeros((64, 80), np.uint8)
    image[16:48, 20:60] = 200
    for name in ("images", "masks", "other"):
        (tmp_path / name).mkdir()
    for number in range(2):
        iio.imwrite(tmp_path / "images" / f"{number}.png", image)
        iio.imwrite(tmp_path / "masks" / f"{number}_mask.png", (image > 100).astype(np.uint8))
    iio.imwrite(tmp_path / "other" / "late.png", image.T)
    dock = open_dock("--epochs", "1")
    files = [(tmp_path / "images" / f"{n}.png", tmp_path / "masks" / f"{n}_mask.png") for n in range(2)]
    dock.session.data.add_files(files)
    dock.session.settings.predict_when_finished = False
    dock.session.train()
    qtbot.waitUntil(lambda: dock.session.phase == "training", timeout=5000)
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)
    (train,) = commands(copied(dock, "Command line"))
    assert train[2:4] == [str(tmp_path / "images"), str(tmp_path / "masks")]

    # A picture that napari itself has opened is named by its file; one that was made here is in none.
    viewer.open(str(tmp_path / "other" / "late.png"))
    dock.session.predict()
    qtbot.waitUntil(lambda: dock.session.phase == "idle" and "uncertainty" in viewer.layers, timeout=10_000)
    _, predict = commands(copied(dock, "Command line"))
    assert predict[3] == str(tmp_path / "other" / "late.png")
    assert "--axes" not in predict
    late = viewer.add_image(image[::2] * 2, name="made here")
    dock.session.data.choose_image(late)
    dock.session.predict()
    qtbot.waitUntil(lambda: dock.session.busy, timeout=5000)
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)
    assert len(commands(copied(dock, "Command line"))) == 1
    assert dock.session.sentence.endswith("made here lies in no file: the text doesn't predict it.")

    dock.session.predict_files([tmp_path / "other" / "late.png"], tmp_path / "out")
    qtbot.waitUntil(lambda: dock.session.busy, timeout=5000)
    qtbot.waitUntil(lambda: dock.session.phase == "idle", timeout=10_000)
    _, predict = commands(copied(dock, "Command line"))
    assert predict[3] == str(tmp_path / "other" / "late.png")
    assert predict[predict.index("--out") + 1] == f"{tmp_path / 'out'}-again"
    assert "predict_files(" in copied(dock, "Python")


def test_a_damaged_run_is_a_sentence(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock("--epochs", "1")
    learn(dock, qtbot, viewer)
    run: RunFolder = dock.session.models.run
    (run.data / "spots.npy").unlink()
    copied(dock, "Command line")
    assert "spots.npy can't be found: without it the run can't be repeated." in dock.session.sentence
    (run.path / "config.json").write_text("{")
    assert copied(dock, "Python") == ""
    assert dock.session.is_error
    assert "not JSON" in dock.session.sentence
