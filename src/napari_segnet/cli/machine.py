"""The demo, data for the tutorials, and the doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_segnet._console import print_table


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("demo"),
    no_viewer: Annotated[bool, typer.Option("--no-viewer", help="Don't open the viewer at the end.")] = False,
) -> None:
    """Do the main job on a bundled photograph: strokes in, labels, scores and a screenshot out."""
    from napari_segnet.demo import run_demo

    run_demo(out, viewer=not no_viewer, on_line=typer.echo)


def tutorial_data(
    name: Annotated[str, typer.Argument(help="canopy, brain, animals, darkfield or tissue.")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    count: Annotated[int | None, typer.Option(help="How many images; default: as in the tutorial.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same images.")] = 0,
) -> None:
    """Draw the images of a tutorial, with labels: see docs/tutorials."""
    from napari_segnet.tutorials import DATA_SETS, write_data

    folder = write_data(name, out, count, seed)
    typer.echo(f"Written: {folder} ({DATA_SETS[name].shows})")


def doctor() -> None:
    """Look at torch, GPU, Qt, OpenGL and napari: what works, and how to mend what doesn't."""
    from napari_segnet.doctor import checks

    found = checks()
    print_table(("", "what", "found", "remedy"), [(c.status, c.name, c.found, c.remedy) for c in found])
    failed = [c.name for c in found if c.status == "fail"]
    if failed:
        typer.echo(f"error: {', '.join(failed)}: this does not work yet. The table says how to mend it.", err=True)
        raise typer.Exit(2)
