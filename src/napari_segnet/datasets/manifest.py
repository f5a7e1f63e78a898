"""``prepare.json``: what came from where, how, and which files an earlier `prepare` may be replaced of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_segnet import __version__
from napari_segnet.datasets.options import PrepareConfig
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.run import write_atomically

MANIFEST = "prepare.json"


@dataclass(frozen=True)
class PreparedFile:
    """One image that was made, and its labels.

    Attributes
    ----------
    image, labels : str
        Relative to the folder; no labels: empty.
    part : str
        ``"train"``, ``"val"``, ``"test"``, or empty.
    source, source_labels : str
        The files they were made of.
    box : tuple of float
        Top, left, bottom and right of what is shown, in pixels of the source.
    shape : tuple of int
        Rows and columns.
    pixel_size : tuple of float or None
        Along [Z], Y, X in `units`.
    group : str
        The first image of those that stay together with it; empty where images aren't divided.
    """

    image: str
    labels: str
    part: str
    source: str
    source_labels: str
    box: tuple[float, float, float, float]
    shape: tuple[int, int]
    pixel_size: tuple[float, ...] | None = None
    units: str | None = None
    group: str = ""


def make_room(out: Path, *, overwrite: bool) -> None:
    """Make sure that nothing in a folder is replaced that has to stay.

    Parameters
    ----------
    out : Path
        May hold what an earlier `prepare` has made, or nothing.
    overwrite : bool
        Whether that is removed.

    Raises
    ------
    DataError
        If there is something else in the folder, or it must not be replaced.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise DataError(f"{out} exists, and holds other things.", "Choose another --out.")
    if not overwrite:
        raise DataError(f"{out} holds what was prepared before.", "Choose another --out, or give --overwrite.")
    inside = _earlier(out)
    others = [p for p in out.rglob("*") if p.is_file() and p not in inside and p.name not in (MANIFEST, ".DS_Store")]
    if others:
        raise DataError(f"{others[0]} was not made by an earlier prepare.", "Move it away, or choose another --out.")
    try:
        for path in inside:
            path.unlink(missing_ok=True)
        # An empty "train" would be taken for a part without images.
        for folder in sorted({p for path in inside for p in path.relative_to(out).parents}, reverse=True):
            if folder != Path() and (out / folder).is_dir() and not any((out / folder).iterdir()):
                (out / folder).rmdir()
    except OSError as error:
        raise SegNetError(f"{out} can't be emptied: {error.strerror or error}.", "Choose another --out.") from error


def _earlier(out: Path) -> set[Path]:
    """Return the files that the manifest of a folder names, below it."""
    try:
        tree = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        named = [str(name) for entry in tree["files"] for name in (entry["image"], entry["labels"]) if name]
        named += [str(name) for name in tree["others"]]
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise DataError(f"{out / MANIFEST} is damaged.", "Choose another --out.") from error
    base = out.resolve()
    # A file that someone has changed must not name others to be removed.
    return {out / name for name in named if (out / name).resolve().is_relative_to(base)}


def write_manifest(
    out: Path, files: Sequence[PreparedFile], config: PrepareConfig, others: Sequence[str] = (), *, complete: bool
) -> None:
    """Write ``prepare.json``; raises `SegNetError` if that can't be done.

    Parameters
    ----------
    out : Path
    files : sequence of PreparedFile
    config : PrepareConfig
    others : sequence of str
        Other files that were made, relative to the folder.
    complete : bool
        Whether all of them are there.
    """
    tree: dict[str, Any] = {
        "program": f"napari-segnet {__version__}",
        "complete": complete,
        "options": config.model_dump(mode="json"),
        "others": list(others),
        "files": [asdict(file) for file in files],
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / MANIFEST, json.dumps(tree, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise SegNetError(
            f"{out} can't be written: {error.strerror or error}.", "Free some room, or choose another --out."
        ) from error
