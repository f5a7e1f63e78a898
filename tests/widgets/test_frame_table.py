"""The table of the docks: what is seen, sorted, chosen and copied."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_segnet._widgets.frame_table import FrameTable
from napari_segnet.errors import DataError
from napari_segnet.frames import read_frame, write_frame

pytestmark = pytest.mark.viewer


@pytest.fixture
def table(qtbot: Any) -> FrameTable:
    made = FrameTable("Objects.")
    qtbot.addWidget(made)
    made.resize(400, 300)
    made.show()
    made.show_frame(objects(), {"area": "Area, um^2."})
    return made


def objects() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": [1, 2, 3, 4],
            "class_name": ["cell", "nucleus", "cell", ""],
            "area": [10.123456, np.nan, 3e-7, 120.0],
            "touches_border": [True, False, False, True],
        }
    )


def column(table: FrameTable, number: int) -> list[str]:
    return [table.frame.index(row, number).data() for row in range(table.frame.rowCount())]


def test_cells_are_short_and_heads_explain(table: FrameTable) -> None:
    assert column(table, 2) == ["10.123", "", "3e-07", "120"]
    assert column(table, 3) == ["yes", "no", "no", "yes"]
    heads = [table.frame.headerData(i, Qt.Orientation.Horizontal) for i in range(4)]
    assert heads == ["label", "class name", "area", "touches border"]
    assert table.frame.headerData(2, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole) == "Area, um^2."
    assert table.frame.index(0, 2).data(Qt.ItemDataRole.ToolTipRole) == "10.123456"


def test_a_click_on_a_head_sorts_and_what_is_missing_comes_last(table: FrameTable) -> None:
    table.sortByColumn(2, Qt.SortOrder.AscendingOrder)
    assert column(table, 0) == ["3", "1", "4", "2"]
    table.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    assert column(table, 0) == ["4", "1", "3", "2"]
    table.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    assert column(table, 0) == ["1", "3", "2", "4"]
    # Another table of the same kind is sorted in the same way.
    table.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    table.show_frame(objects().iloc[::-1])
    assert column(table, 0) == ["4", "1", "3", "2"]


def test_the_chosen_row_stays_chosen_when_the_order_changes(table: FrameTable, qtbot: Any) -> None:
    told: list[int] = []
    table.row_chosen.connect(told.append)
    table.sortByColumn(2, Qt.SortOrder.AscendingOrder)
    at = table.visualRect(table.frame.index(0, 0)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert told == [2]
    # Once more: the view may have been moved away from the object.
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert told == [2, 2]
    qtbot.keyClick(table, Qt.Key.Key_Down)
    assert told == [2, 2, 0]
    table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    assert [table.frame.row_at(i.row()) for i in table.selectionModel().selectedRows()] == [0]
    assert told == [2, 2, 0]
    table.choose(1)
    assert [table.frame.row_at(i.row()) for i in table.selectionModel().selectedRows()] == [1]
    assert told == [2, 2, 0]


def test_rows_are_copied_for_a_spreadsheet(table: FrameTable, qtbot: Any) -> None:
    table.choose(0)
    qtbot.keyClick(table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QApplication.clipboard().text() == ("label\tclass name\tarea\ttouches border\n1\tcell\t10.123456\tTrue\n")


def test_a_hundred_thousand_objects_are_shown_and_sorted_at_once(table: FrameTable) -> None:
    numbers = np.random.default_rng(0).normal(size=(100_000, 30))
    frame = pd.DataFrame(numbers, columns=[f"c{i}" for i in range(30)])
    begin = time.perf_counter()
    table.show_frame(frame)
    table.sortByColumn(5, Qt.SortOrder.AscendingOrder)
    assert time.perf_counter() - begin < 1
    assert table.frame.value(0, 5) == numbers[:, 5].min()
    table.show_frame(None)
    assert table.frame.rowCount() == 0


def test_a_table_survives_the_way_between_processes(tmp_path: Path) -> None:
    frame = objects().assign(tiny=np.float32([0.1, np.inf, -0.0, 5e-324]), none=[None, "a", "ß\n", "1"])
    write_frame(frame, tmp_path / "t.npz")
    back = read_frame(tmp_path / "t.npz")
    assert list(back.columns) == list(frame.columns)
    for name in ("label", "area", "tiny", "touches_border"):
        assert back[name].dtype == frame[name].dtype
        assert np.array_equal(back[name], frame[name], equal_nan=back[name].dtype.kind == "f")
    assert list(back["none"]) == ["", "a", "ß\n", "1"]
    write_frame(frame.iloc[:0], tmp_path / "empty.npz")
    assert list(read_frame(tmp_path / "empty.npz").columns) == list(frame.columns)
    (tmp_path / "bad.npz").write_bytes((tmp_path / "t.npz").read_bytes()[:100])
    with pytest.raises(DataError, match=r"bad\.npz can't be read"):
        read_frame(tmp_path / "bad.npz")
