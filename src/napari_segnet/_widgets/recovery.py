"""Runs that were interrupted: finding them, and bringing their images and strokes back as layers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from napari_segnet import _layers
from napari_segnet._widgets.answers import Shown
from napari_segnet._widgets.data_choice import DataChoice
from napari_segnet.axes import counted
from napari_segnet.errors import RunFolderError, SegNetError
from napari_segnet.run import PairRecord, RunFolder, list_runs, write_atomically

_TAIL_BYTES = 65_536
_LOOK_AT = 5


def interrupted_run(parent: Path) -> RunFolder | None:
    """Return the newest run below `parent` that began, didn't end, isn't running and wasn't dismissed."""
    for run in list_runs(parent)[:_LOOK_AT]:
        if (run.path / "dismissed").exists() or not (run.data / "layers.json").exists():
            continue
        try:
            # Without an image there is nothing to bring back; the lock tells a run of another viewer.
            if run.pairs and not ended(run) and run.state() in ("interrupted", "new"):
                return run
        except SegNetError:
            continue
    return None


def dismiss(run: RunFolder) -> None:
    """Never offer this run again; its folder stays."""
    write_atomically(run.path / "dismissed", "")


def welcome(run: RunFolder) -> None:
    """Offer this run again if it should be interrupted: it goes on now."""
    (run.path / "dismissed").unlink(missing_ok=True)


def ended(run: RunFolder) -> bool:
    """Whether a run came to its own end, without having been stopped."""
    # Only the end of the log: after a long run the whole takes a second to read.
    try:
        with (run.path / "events.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return False
    for line in reversed(lines):
        if '"event": "started"' in line:
            return False
        if '"event": "finished"' in line:
            return '"stopped"' not in line
    return False


def epochs_done(run: RunFolder) -> int:
    """Return how many epochs the history of a run has."""
    try:
        return max(0, len((run.path / "history.csv").read_text().splitlines()) - 1)
    except OSError:
        return 0


def in_words(run: RunFolder) -> str:
    """Say which run it is: of which image, how far."""
    names = ", ".join(pair.name for pair in run.pairs[:2]) + (" ..." if len(run.pairs) > 2 else "")
    epochs = epochs_done(run)
    how_far = f"after {counted(epochs, 'epoch')}" if epochs else "before its first epoch"
    return f"Training on {names} was interrupted {how_far}."


def write_layers(run: RunFolder, pairs: Mapping[str, tuple[Sequence[Image], Labels]]) -> None:
    """Write down how the layers of a run look and lie, so that they can come back as they were."""
    described = {
        name: {"images": [_describe(image) for image in images], "labels": _describe(labels)}
        for name, (images, labels) in pairs.items()
    }
    write_atomically(run.data / "layers.json", json.dumps(described, indent=1))


def _describe(layer: Image | Labels) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": layer.name,
        "scale": np.asarray(layer.scale).tolist(),
        "translate": np.asarray(layer.translate).tolist(),
        "rotate": np.asarray(layer.rotate).tolist(),
        "shear": np.asarray(layer.shear).tolist(),
        "affine": np.asarray(layer.affine.affine_matrix).tolist(),
        "units": [str(unit) for unit in layer.units],
        "axis_labels": list(layer.axis_labels),
    }
    if isinstance(layer, Image):
        described["rgb"] = bool(layer.rgb)
        if not layer.rgb:
            described["contrast_limits"] = [float(v) for v in layer.contrast_limits]
            described["colormap"] = str(layer.colormap.name)
    return described


def restore(viewer: Any, run: RunFolder) -> dict[str, tuple[list[Image], Labels]]:
    """Bring the images and strokes of a run back as layers; layers that are still there are used.

    Parameters
    ----------
    viewer : napari viewer
    run : RunFolder

    Returns
    -------
    dict
        Name of the record -> its image layers and labels layer.

    Raises
    ------
    SegNetError
        If the snapshot can't be read.
    """
    try:
        described = json.loads((run.data / "layers.json").read_text(encoding="utf-8"))
        return {
            record.name: _restore_pair(viewer, record, described[record.name])
            for record in run.pairs
            if record.name in described
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"The layers of {run.path} can't be restored: {error}.") from error


def bring_back(viewer: Any, run: RunFolder, data: DataChoice) -> dict[str, Shown]:
    """Restore the layers of a run, and choose them, its files and its classes as they were chosen then.

    Returns
    -------
    dict of str to Shown
        Name of the record -> the layer that shows it.

    Raises
    ------
    SegNetError
        If the run folder is damaged.
    """
    restored = restore(viewer, run)
    records = {record.name: record for record in run.pairs}
    shown = {name: Shown.of(images, records[name].axes) for name, (images, _) in restored.items()}
    for name, (images, labels) in restored.items():
        data.choose_pair(images, labels, records[name].axes)
        if len(restored) > 1:
            data.add_current()
    files = [r for r in records.values() if r.name not in restored and len(r.images) == 1]
    if files:
        data.add_files([(Path(r.images[0]), Path(r.labels)) for r in files])
    data.restore_config(run.config.data)
    return shown


def _restore_pair(viewer: Any, record: PairRecord, described: dict[str, Any]) -> tuple[list[Image], Labels]:
    from napari_segnet.io.images import open_image

    images = []
    for path, how in zip(record.images, described["images"], strict=True):
        array = open_image(Path(path), record.axes).array
        images.append(_there(viewer, Image, how["name"], array) or _add_image(viewer, array, how))
    labels = np.load(record.labels)
    layer = _there(viewer, Labels, described["labels"]["name"], labels)
    # A layer of the same name that lacks some of the strokes, such as a new and empty one, is another layer.
    if layer is None or not np.array_equal(np.asarray(_layers.array_of(layer))[labels != 0], labels[labels != 0]):
        how = described["labels"]
        if labels.ndim < len(how["scale"]):
            how = {"name": how["name"], **_layers.transform_of(images[0], record.axes)}
        layer = viewer.add_labels(labels, **how)
    return images, layer


def _add_image(viewer: Any, array: Any, how: dict[str, Any]) -> Any:
    try:
        return viewer.add_image(array, **how)
    except KeyError:
        # A colormap that this session doesn't know, such as one made by hand.
        return viewer.add_image(array, **{key: value for key, value in how.items() if key != "colormap"})


def _there(viewer: Any, kind: type[Image | Labels], name: str, array: Any) -> Any:
    if name in viewer.layers and isinstance(viewer.layers[name], kind):
        layer = viewer.layers[name]
        if tuple(_layers.array_of(layer).shape) == tuple(array.shape):
            return layer
    return None
