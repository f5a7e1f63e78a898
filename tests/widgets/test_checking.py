"""What a user sees when she has her data looked through before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from napari_segnet._widgets.check_dialog import CheckDialog

pytestmark = pytest.mark.viewer


def checked(dock: Any, qtbot: Any) -> CheckDialog:
    qtbot.waitUntil(dock.data.check.isEnabled)
    dialog = dock.data.check_data()
    qtbot.waitUntil(lambda: dialog._job is None, timeout=60_000)
    return dialog


def column(table: Any, name: str) -> list[Any]:
    names = [table.frame.headerData(i, 1) for i in range(table.frame.columnCount())]
    return [table.frame.value(place, names.index(name)) for place in range(table.frame.rowCount())]


def finding(dialog: CheckDialog, status: str) -> list[str]:
    found = zip(column(dialog.findings, ""), column(dialog.findings, "what"), strict=True)
    return [what for said, what in found if said == status]


def test_layers_and_files_are_looked_through_together(
    viewer: Any, open_dock: Any, spots: Any, qtbot: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(
        "napari_segnet._widgets.check_dialog.QDesktopServices.openUrl", lambda url: opened.append(url.toLocalFile())
    )
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    mask = np.zeros((64, 64), np.uint8)
    mask[10:30, 10:30], mask[40:60, 40:60] = 1, 2
    files = []
    for name in ("a", "b", "odd"):
        image = rng.integers(0, 90, (64, 64)).astype(np.uint8) + 60 * (mask > 0).astype(np.uint8)
        files.append((tmp_path / "images" / f"{name}.png", tmp_path / "masks" / f"{name}.png"))
        iio.imwrite(files[-1][0], image)
        iio.imwrite(files[-1][1], mask if name != "odd" else mask[:50])
    dock = open_dock()
    dock.session.data.add_files(files)
    qtbot.waitUntil(lambda: not dock.session.data.counting)
    dialog = checked(dock, qtbot)
    assert column(dialog.images, "name") == ["spots", "a", "b", "odd"]
    remarks = column(dialog.images, "remark")
    assert "size" in remarks[3] or "fit" in remarks[3]
    assert finding(dialog, "fail")
    assert "can't be learned from as it is" in dialog.status.text()
    assert dialog.page.isEnabled()
    dialog.page.click()
    page = Path(opened[0])
    assert "odd" in page.read_text(encoding="utf-8")
    # A click on a row shows the pair in the viewer.
    names = column(dialog.images, "name")
    dialog.images.selectRow(dialog.images.frame.place_of(names.index("b")))
    assert dock.session.data.images[0].name == "b"
    dialog.close()
    assert page.exists()  # the browser may still be reading


def test_good_data_are_said_to_be_good_and_units_are_kept(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock()
    qtbot.waitUntil(lambda: not dock.session.data.counting)
    dialog = checked(dock, qtbot)
    assert not finding(dialog, "fail")
    assert column(dialog.images, "pixel size") == ["0.5 x 0.25"]
    assert column(dialog.images, "units") == ["micrometer"]
    dialog.close()


def test_closing_the_window_ends_the_look(viewer: Any, open_dock: Any, spots: Any, qtbot: Any) -> None:
    dock = open_dock()
    qtbot.waitUntil(dock.data.check.isEnabled)
    dialog = dock.data.check_data()
    jobs = dialog._jobs
    qtbot.waitUntil(lambda: jobs.client.alive)
    dialog.close()
    qtbot.waitUntil(lambda: not jobs.client.alive, timeout=8000)
    # And it can be asked again.
    dialog = checked(dock, qtbot)
    assert dialog.images.frame.rowCount() == 1
    dialog.close()


def test_without_labels_there_is_nothing_to_check(viewer: Any, open_dock: Any) -> None:
    dock = open_dock()
    assert not dock.data.check.isEnabled()
