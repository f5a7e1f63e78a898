"""Writing what is on the screen for the worker: a run folder to learn from, or inputs to predict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from napari_segnet import _layers
from napari_segnet._widgets import recovery
from napari_segnet._widgets.answers import Shown
from napari_segnet._widgets.data_choice import DataChoice, LayerPair, check_volume
from napari_segnet._widgets.labelling import FilePair
from napari_segnet._widgets.settings import Settings
from napari_segnet.axes import counted, view
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.io.images import open_image, open_labels
from napari_segnet.io.pairing import Pairing
from napari_segnet.io.records import make_records
from napari_segnet.models.info import ModelInfo
from napari_segnet.run import PairRecord, RunFolder, new_run_path

MOST_SHOWN = 24
"""Most files that are predicted into layers; more belong into a folder."""


@dataclass
class Written:
    """What `write_run` made: the run, and which layer each record stands for."""

    run: RunFolder | None = None
    shown: dict[str, Shown] = field(default_factory=dict)


def write_run(
    data: DataChoice, settings: Settings, start: ModelInfo | None, parent: Path, written: Written
) -> Iterator[Any]:
    """Make a run folder from what is chosen and painted now, step by step.

    Parameters
    ----------
    data : DataChoice
    settings : Settings
    start : ModelInfo or None
        The model that learning starts from.
    parent : Path
        Folder of the new run folder.
    written : Written
        Filled in at the end.

    Raises
    ------
    SegNetError
        If the data can't be learned from, or the disk is full.
    """
    yield from data.count_steps()
    data.check(start)
    config = settings.run_config(data.config(start))
    pairs = data.everything()
    names = _names(pairs)
    records: list[PairRecord] = []
    for name, pair in zip(names, pairs, strict=True):
        if isinstance(pair, FilePair):
            (record,) = make_records(Pairing(((pair.image, pair.labels),), (), ()))
            spatial = settings.spatial if start is None else start.axes
            check_volume(pair.image.name, record.axes, spatial, start is not None)
            records.append(record.replace(name=name))
            yield
    run = RunFolder.create(new_run_path(parent, names[0]), config)
    layers: dict[str, tuple[list[Image], Labels]] = {}
    for name, pair in zip(names, pairs, strict=True):
        if isinstance(pair, FilePair):
            continue
        images, labels = pair.layers()
        if not images or labels is None:
            raise DataError("A layer was deleted while it was being saved.", "Press Train again.")
        yield from _layers.write_pair(run.path, name, images, labels, pair.axes)
        records.append(_layers.record_of(name, images, pair.axes))
        layers[name] = (images, labels)
        written.shown[name] = Shown.of(images, pair.axes)
    try:
        recovery.write_layers(run, layers)
        # In the order of the list, whatever was looked at first.
        place = {name: number for number, name in enumerate(names)}
        run.set_pairs(sorted(records, key=lambda record: place[record.name]))
    except OSError as error:
        raise SegNetError(f"{run.path} can't be written: {error.strerror or error}.") from error
    written.run = run


def _names(pairs: list[LayerPair | FilePair]) -> list[str]:
    names: list[str] = []
    for pair in pairs:
        if isinstance(pair, FilePair):
            stem = pair.image.name.split(".")[0]
        else:
            images, _ = pair.layers()
            stem = images[0].name if images else "image"
        names.append(_layers.file_name(stem, names))
    return names


def wanted_inputs(data: DataChoice, all_pairs: bool) -> list[LayerPair | FilePair]:
    """Return what is to be predicted: the chosen image, or all pairs.

    Raises
    ------
    DataError
        If there is no image, or too many files to show.
    """
    wanted: list[LayerPair | FilePair] = [data.current] if data.images else []
    if all_pairs:
        known = [p.layers()[0] for p in wanted if isinstance(p, LayerPair)]
        wanted += [p for p in data.pairs if isinstance(p, FilePair) or p.layers()[0] not in known]
    if not wanted:
        raise DataError("There is no image to predict.", "Open one, and choose it under Image.")
    files = [p for p in wanted if isinstance(p, FilePair)]
    if len(files) > MOST_SHOWN:
        raise DataError(
            f"{len(files)} files are too many to show as layers.",
            "Press Files ... to predict them into a folder.",
        )
    return wanted


def check_inputs(wanted: list[LayerPair | FilePair], info: ModelInfo) -> None:
    """Raise `DataError` for an image whose channels aren't the model's, or a plane where the model sees volumes."""
    for pair in wanted:
        if isinstance(pair, LayerPair):
            images, _ = pair.layers()
            check_volume(images[0].name, pair.axes, info.axes, of_model=True)
            channels = sum(_layers.channels_of(image, pair.axes) for image in images)
            if channels != info.channels:
                raise DataError(
                    f"{images[0].name!r} has {counted(channels, 'channel')}, "
                    f"but the model was trained on {info.channels}.",
                    "Choose as many channels as the model has, or another model.",
                )


def write_inputs(
    viewer: Any,
    wanted: list[LayerPair | FilePair],
    out: Path,
    inputs: list[dict[str, Any]],
    shown: dict[str, Shown],
) -> Iterator[Any]:
    """Write the images that are to be predicted into a folder, step by step, and list them.

    Parameters
    ----------
    viewer : napari viewer
        Files that aren't shown yet become layers.
    wanted : list of pairs
    out : Path
    inputs : list
        Filled in: an entry of the worker's command for each image.
    shown : dict
        Filled in: name -> layer.
    """
    try:
        (out / "inputs").mkdir(parents=True)
    except OSError as error:
        raise SegNetError(f"{out} can't be written: {error.strerror or error}.") from error
    shown.clear()
    for name, pair in zip(_names(wanted), wanted, strict=True):
        if isinstance(pair, FilePair):
            opened = open_image(pair.image)
            layer = layer_of_file(viewer, pair.image)
            inputs.append(_input(name, [pair.image.resolve()], opened.axes, opened.pixel_size, opened.units))
            shown[name] = Shown.of([layer], opened.axes)
            yield
            continue
        images, _ = pair.layers()
        if not images:
            raise DataError("A layer was deleted while the images were being handed over.", "Press Predict again.")
        references = [_layers.file_of(image, pair.axes) for image in images]
        paths = _layers.image_files(out / "inputs", name, len(images))
        if all(reference is not None for reference in references):
            paths = [reference for reference in references if reference is not None]
        else:
            yield from _layers.write_image(out / "inputs", name, images)
        inputs.append(_input(name, paths, pair.axes, *_layers.pixel_size_of(images[0], pair.axes)))
        shown[name] = Shown.of(images, pair.axes)


def _input(
    name: str, paths: Sequence[Path], axes: str, pixel_size: tuple[float, ...] | None, units: str | None
) -> dict[str, Any]:
    """Return an entry of the worker's command."""
    known = pixel_size is not None and min(pixel_size) > 0
    size = {"pixel_size": list(pixel_size), "units": units} if pixel_size is not None and known else {}
    return {"name": name, "images": [str(path) for path in paths], "axes": axes, **size}


def show_files(viewer: Any, data: DataChoice, pair: FilePair) -> None:
    """Show a pair of files as layers, and choose them; they are opened lazily, and stay in the list as files."""
    image = layer_of_file(viewer, pair.image)
    labels, axes = labels_of_file(viewer, pair.labels, image)
    data.choose_pair([image], labels, axes)


def layer_of_file(viewer: Any, path: Path) -> Image:
    """Return the layer that shows an image file, made if there is none; raises `DataError` for a bad file."""
    found: Image | None = _layers.layer_of_path(viewer, Image, path)
    if found is not None:
        return found
    opened = open_image(path)
    array, axes = opened.array, opened.axes
    rgb = axes.endswith("C") and array.shape[-1] in (3, 4)
    if axes.endswith("C") and not rgb:
        # napari knows colours only as the last axis; other channels come first.
        axes = "C" + axes[:-1]
        array = view(array, opened.axes, axes)
    known = {_layers.FILE_KEY: str(path), _layers.AXES_KEY: axes}
    layer: Image = viewer.add_image(array, name=path.stem, rgb=rgb, metadata=known)
    if opened.pixel_size is not None:
        # The pixel size belongs to the spatial axes; what stands before them keeps 1.
        layer.scale = [1.0] * (layer.ndim - len(opened.pixel_size)) + list(opened.pixel_size)
        if opened.units is not None:
            layer.units = ["pixel"] * (layer.ndim - len(opened.pixel_size)) + [opened.units] * len(opened.pixel_size)
    return layer


def labels_of_file(viewer: Any, path: Path, image: Image) -> tuple[Labels, str]:
    """Return the layer that shows a label file on its image, made if there is none, and the image's axes."""
    found: Labels | None = _layers.layer_of_path(viewer, Labels, path)
    axes: str = image.metadata.get(_layers.AXES_KEY) or _layers.axes_of(image, found)
    if found is None:
        array = np.array(open_labels(path, axes.replace("C", "")).array)
        place = _layers.transform_of(image, axes)
        found = viewer.add_labels(array, name=path.stem, metadata={_layers.FILE_KEY: str(path)}, **place)
    return found, axes
