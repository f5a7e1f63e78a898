"""The plugin's page of napari's Preferences: see `configurations` in napari.yaml."""

from __future__ import annotations

from typing import Any

from napari_segnet._widgets.settings import Settings

PLUGIN = "napari-segnet"


def preference(section: str, key: str, default: Any) -> Any:
    """Return one preference; `default` where napari has no settings of the plugin (as in some tests)."""
    from napari.settings import get_plugin_settings

    try:
        return getattr(getattr(get_plugin_settings(PLUGIN), section), key)
    except (KeyError, AttributeError):
        return default


def settings_from_preferences() -> Settings:
    """Return the settings that a new dock starts with."""
    settings = Settings(
        preset=preference("training", "preset", "fast"),
        preview_seconds=preference("training", "preview_seconds", 3.0),
        predict_when_finished=preference("training", "predict_when_finished", True),
        uncertainty=preference("prediction", "uncertainty", True),
        probabilities=preference("prediction", "probabilities", True),
        tta=preference("prediction", "tta", False),
    )
    minutes = preference("training", "minutes", 0)
    if minutes > 0:
        settings.minutes = float(minutes)
    device = preference("training", "device", "auto")
    if device != "auto":
        settings.advanced["train.device"] = device
    return settings
