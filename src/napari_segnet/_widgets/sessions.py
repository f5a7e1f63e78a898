"""One session a viewer, however many docks it has."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from napari_segnet._widgets.client import WORKER
from napari_segnet._widgets.session import Session

_SESSIONS: weakref.WeakKeyDictionary[Any, Session] = weakref.WeakKeyDictionary()


def session_of(viewer: Any, command: Sequence[str] = WORKER) -> Session:
    """Return the session of a viewer, made at the first call; it goes when the viewer goes."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _SESSIONS:
        _SESSIONS[viewer] = Session(viewer, command)
    return _SESSIONS[viewer]


def known_session(viewer: Any) -> Session | None:
    """Return the session of a viewer, None where the main dock has never been opened."""
    return _SESSIONS.get(getattr(viewer, "__wrapped__", viewer))
