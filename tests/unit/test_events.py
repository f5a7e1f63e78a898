import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_segnet import events
from napari_segnet.errors import SegNetError

EXAMPLES = [
    events.Ready("cpu", 12, 2**33),
    events.Started("/runs/a", "cpu", 0, 10, {"patch": "128"}),
    events.Notice("Memory ran out."),
    events.Step(3, 0.5, 1.5, None),
    events.Epoch({"epoch": 1, "loss": 0.4, "val_dice": None}, True, 2.0, 3.0),
    events.Preview("cells", "a.npy", "b.npy", (3, 4), 0.1),
    events.Checkpoint("c.safetensors", 20),
    events.Progress("predict", 1, 2),
    events.Predicted("cells", {"labels": "l.npy"}),
    events.Augmented("a.npy", "l.npy", {"1": "#ff0000"}),
    events.Finished("stopped", "m.safetensors", {"val_dice": 0.9}),
    events.Failed("No.", "Try again.", False, ""),
]


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda e: e.kind)
def test_an_event_survives_the_way_through_json(event):
    line = events.to_json(event)
    assert "\n" not in line
    assert events.from_json(line) == event


def test_every_kind_has_an_example():
    assert {e.kind for e in EXAMPLES} == set(events.KINDS)


def test_nan_becomes_null_because_json_has_no_nan():
    line = events.to_json(events.Epoch({"loss": float("nan")}, False, float("inf")))
    assert json.loads(line)["row"] == {"loss": None}


@pytest.mark.parametrize("line", ["", "{", "[]", "1", '{"event": "party"}', '{"event": "step"}', "null"])
def test_anything_else_is_not_an_event(line):
    with pytest.raises(SegNetError, match="Not an event"):
        events.from_json(line)


def test_fields_of_a_newer_version_are_left_out():
    line = json.dumps({"event": "notice", "text": "hello", "colour": "red"})
    assert events.from_json(line) == events.Notice("hello")


@given(st.text())
def test_any_text_is_carried_whole(text):
    assert events.from_json(events.to_json(events.Notice(text))) == events.Notice(text)
