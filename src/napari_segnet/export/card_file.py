"""The model card as a file. No torch."""

from __future__ import annotations

from pathlib import Path

from napari_segnet.errors import ConfigError, SegNetError
from napari_segnet.export import ExportConfig, Exporter, Report
from napari_segnet.models.card import About, model_card
from napari_segnet.models.info import read_info
from napari_segnet.run import write_atomically

CARD = "model_card.md"
"""Name of the card in a folder."""


def write(model: Path, out: Path, config: ExportConfig, exporter: Exporter) -> Report:
    """Write the card of a model.

    Parameters
    ----------
    model, config
        As for `export_model`.
    out : Path
        A file that ends with ``.md``, or a folder, which gets a ``model_card.md``.
    exporter : Exporter

    Raises
    ------
    SegNetError
        If the model can't be read, or the card can't be written.
    """
    text = model_card(read_info(model), about_of(config))
    if out.suffix.lower() not in exporter.suffixes:
        if out.suffix and not out.is_dir():
            raise ConfigError(f"{out} is no name for a card.", "Name a file that ends with .md, or a folder.")
        out /= CARD
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, text)
    except OSError as error:
        raise SegNetError(f"{out} can't be written: {error.strerror or error}.", "Choose another place.") from error
    return Report(out, (out.name,), {}, ())


def about_of(config: ExportConfig) -> About:
    """Return what only people know of a model, without what belongs to an export."""
    return About(**config.model_dump(include=set(About.model_fields)))
