"""Keyboard shortcuts for Train and Predict, bound at run time and only where nobody else has the keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari._app_model import get_app_model
from napari.layers import Image, Labels, Points, Shapes
from napari.settings import get_settings
from napari.utils.key_bindings import coerce_keybinding
from qtpy.QtGui import QAction, QKeySequence

from napari_segnet._widgets.preferences import preference

DEFAULTS = {"train": "Ctrl+Shift+L", "predict": "Ctrl+Shift+A"}


def wanted_key(name: str) -> str:
    """Return the keys that the preferences name for ``"train"`` or ``"predict"``."""
    return str(preference("shortcuts", name, DEFAULTS[name])).strip()


def bind(viewer: Any, name: str, key: str, function: Callable[[], None]) -> str:
    """Bind a key in a viewer, unless it is taken.

    Parameters
    ----------
    viewer : napari viewer
    name : str
    key : str
        Such as ``"Ctrl+Shift+L"``; an empty text binds nothing.
    function : callable
        Called without arguments.

    Returns
    -------
    str
        The key that was bound; empty where it is taken or unreadable.
    """
    if not key:
        return ""
    try:
        binding = coerce_keybinding(key)
    except (ValueError, TypeError):
        return ""
    if binding in viewer.keymap:
        # Our own of an earlier dock may be replaced, another plugin's not.
        mine = getattr(viewer.keymap[binding], "napari_segnet", None) == name
        if not mine:
            return ""
    elif is_taken(viewer, binding, key):
        return ""

    def run(_viewer: Any) -> None:
        function()

    run.napari_segnet = name  # type: ignore[attr-defined]
    viewer.bind_key(binding, run, overwrite=True)
    return key


def is_taken(viewer: Any, binding: Any, key: str) -> bool:
    """Whether napari, a layer, a menu or another plugin uses a key already."""
    for provider in (type(viewer), *type(viewer).__mro__, Image, Labels, Points, Shapes):
        if binding in getattr(provider, "class_keymap", {}):
            return True
    # napari's own actions are bound when a layer of their kind becomes active: the preferences list all of them.
    for keys in get_settings().shortcuts.shortcuts.values():
        if any(str(coerce_keybinding(s)) == str(binding) for s in keys):
            return True
    # The keys of napari's menus: the menus themselves are only made when they are opened.
    if any(str(entry.keybinding) == str(binding) for entry in get_app_model().keybindings):
        return True
    window = getattr(viewer.window, "_qt_window", None)
    if window is None:
        return False
    sequence = QKeySequence(key)
    return any(
        sequence.matches(other) == QKeySequence.SequenceMatch.ExactMatch
        for action in window.findChildren(QAction)
        for other in action.shortcuts()
    )
