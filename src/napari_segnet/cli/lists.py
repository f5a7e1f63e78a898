"""Commands that list what there is to choose from: networks, encoders, losses, optimizers, schedules, settings."""

from __future__ import annotations

import shutil
import textwrap
from typing import Annotated

import typer

from napari_segnet import completion
from napari_segnet._console import print_table
from napari_segnet.axes import times
from napari_segnet.errors import ConfigError
from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.option_rows import OptionRow

Plain = Annotated[bool, typer.Option("--plain", help="One name a line.")]


def networks(
    name: Annotated[
        str | None, typer.Argument(help="A network to tell everything of.", autocompletion=completion.networks)
    ] = None,
    plain: Plain = False,
) -> None:
    """List the networks, or tell what there is to know of one: its size, its work and its options."""
    if name is not None:
        _network_details(name, plain)
        return
    rows = [(s.name, s.encoder or "-", s.idea, s.when, s.paper) for s in NETWORKS.values()]
    print_table(("name", "encoder", "idea", "when", "paper"), rows, plain)


def _network_details(name: str, plain: bool) -> None:
    from napari_segnet.models.registry import network_spec
    from napari_segnet.models.size import measure
    from napari_segnet.option_rows import option_rows

    spec = network_spec(name)
    rows = [(f"model.options.{o.name}", o.values, o.default, o.meaning) for o in option_rows(spec.options_model())]
    if not plain:
        size = measure(spec.name)
        shape = times(size.shape)
        facts = {
            "idea": spec.idea,
            "when": spec.when,
            "paper": spec.paper,
            "encoder": f"{spec.encoder}, or another: --encoder" if spec.encoder else "",
            "axes": spec.axes,
            "parameters": f"{size.parameters:,} (channels: {size.channels}, outputs: {size.outputs})",
            "published": spec.parameters,
            "work": f"{size.work / 1e9:.3g} thousand million multiply-adds for an image of {shape}",
        }
        print_table((spec.name, ""), [(what, words) for what, words in facts.items() if words])
        typer.echo("")
    if rows:
        print_table(("option", "values", "default", "meaning"), rows, plain)


def encoders(plain: Plain = False) -> None:
    """List the encoders of networks that have one to choose; timm's can be used too, as tu-NAME."""
    from napari_segnet.models.encoders import encoder_table

    print_table(("name", "pretrained weights"), encoder_table(), plain)


def losses(plain: Plain = False) -> None:
    """List the losses."""
    from napari_segnet.training.losses import LOSSES

    print_table(("name", "idea", "paper"), [(s.name, s.idea, s.paper) for s in LOSSES.values()], plain)


def optimizers(plain: Plain = False) -> None:
    """List the optimizers, for --set train.optimizer=NAME."""
    from napari_segnet.training.optimizers import OPTIMIZERS

    rows = [(s.name, s.idea, ", ".join(s.options.model_fields), s.paper) for s in OPTIMIZERS.values()]
    print_table(("name", "idea", "options", "paper"), rows, plain)


def schedules(plain: Plain = False) -> None:
    """List the schedules of the learning rate, for --set train.schedule=NAME."""
    from napari_segnet.training.schedule import SCHEDULES

    rows = [(s.name, s.idea, ", ".join(s.options.model_fields), s.paper) for s in SCHEDULES.values()]
    print_table(("name", "idea", "options", "paper"), rows, plain)


def settings(
    about: Annotated[str | None, typer.Argument(help="Only those with this in name or meaning.")] = None,
    plain: Plain = False,
) -> None:
    """List the settings that --set takes when training and when predicting."""
    from napari_segnet.settings_table import prediction_settings, training_settings

    tables = {"train --set": training_settings(), "predict --set": prediction_settings()}
    found = {
        head: [row for row in rows if about is None or about.lower() in f"{row.name} {row.meaning}".lower()]
        for head, rows in tables.items()
    }
    if not any(found.values()):
        raise ConfigError(f"No setting has {about!r} in its name or meaning.", "List all: napari-segnet settings.")
    for head, rows in found.items():
        if plain:
            typer.echo("".join(f"{row.name}\n" for row in rows), nl=False)
        elif rows:
            typer.echo(f"{head}\n")
            for row in rows:
                _print_setting(row)


def _print_setting(row: OptionRow) -> None:
    """Print a setting as a paragraph: its values are too many words for a column of a table."""
    typer.echo(f"{row.name}={row.default}" if row.default != "none" else row.name)
    words = f"{row.meaning} Values: {row.values}." if row.values != "names and values" else row.meaning
    width = max(40, shutil.get_terminal_size().columns)
    typer.echo(textwrap.fill(words, width, initial_indent="    ", subsequent_indent="    ") + "\n")
