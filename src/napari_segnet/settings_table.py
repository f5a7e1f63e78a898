"""Every setting that ``--set`` takes, as rows of tables. Imports no torch."""

from __future__ import annotations

from dataclasses import replace

from napari_segnet.config import (
    AugmentConfig,
    CrfOptions,
    DataConfig,
    Frozen,
    ModelConfig,
    PredictConfig,
    TrainConfig,
)
from napari_segnet.option_rows import OptionRow, option_rows
from napari_segnet.presets import Fingerprint, choose

_TRAINING: dict[str, type[Frozen]] = {
    "data.": DataConfig,
    "model.": ModelConfig,
    "train.": TrainConfig,
    "train.augment.": AugmentConfig,
}
_PREDICTION: dict[str, type[Frozen]] = {"": PredictConfig, "crf_options.": CrfOptions}
_SECTIONS = ("augment", "crf_options")
"""Fields with settings of their own."""
_FROM_FILES = ("data.task", "data.unlabelled", "data.classes", "data.axes")
_BY_PRESET, _GUESSED = "the preset's", "guessed"


def training_settings() -> list[OptionRow]:
    """Return a row for each setting of ``train``, with its whole name, such as ``train.batch_size``."""
    known = {f"{section}.{name}": _BY_PRESET for section, names in _chosen().items() for name in names}
    known |= dict.fromkeys(_FROM_FILES, _GUESSED)
    rows = [row for prefix, model in _TRAINING.items() for row in _rows(prefix, model)]
    return [replace(row, default=known.get(row.name, row.default)) for row in rows]


def prediction_settings() -> list[OptionRow]:
    """Return a row for each setting of ``predict``, such as ``tile``."""
    return [row for prefix, model in _PREDICTION.items() for row in _rows(prefix, model)]


def _rows(prefix: str, model: type[Frozen]) -> list[OptionRow]:
    return [replace(row, name=prefix + row.name) for row in option_rows(model) if row.name not in _SECTIONS]


def _chosen() -> dict[str, set[str]]:
    """Return what presets choose, by section: their table is asked, for any data."""
    settings, _ = choose("fast", Fingerprint(1, 256, 256, 1, 2, 256 * 256))
    # The optimizer's weight decay comes with its choice.
    return {"model": set(settings["model"]), "train": (set(settings["train"]) | {"weight_decay"}) - {"preset"}}
