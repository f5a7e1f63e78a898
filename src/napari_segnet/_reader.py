"""Annotation files of other programs, opened in the viewer: dropped on it, or by File > Open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari
from napari.layers import Image
from napari.utils.notifications import show_warning

from napari_segnet._layers import array_of, axes_of, transform_of
from napari_segnet._looks import class_look
from napari_segnet.annotations import FORMATS, read_annotations
from napari_segnet.annotations.drawing import Draftsman
from napari_segnet.annotations.matching import base_name
from napari_segnet.annotations.model import AnnotatedImage
from napari_segnet.annotations.options import ImportOptions
from napari_segnet.axes import counted
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.io.images import open_image
from napari_segnet.io.pairing import file_stem, list_images

LayerData = tuple[Any, dict[str, Any], str]
_SHOWN = 3
# Formats whose files are pictures: napari opens these itself, and only a person knows what they mean.
_PICTURES = ("masks", "colours", "trimap")


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return what opens annotation files; None for anything else."""
    paths = [Path(p) for p in ([path] if isinstance(path, str) else path)]
    if not all(_is_annotation(p) for p in paths):
        return None
    return read


def _is_annotation(path: Path) -> bool:
    try:
        return path.is_file() and any(
            known.recognizes(path) for known in FORMATS.values() if known.name not in _PICTURES
        )
    except SegNetError:
        return False


def read(path: str | list[str]) -> list[LayerData]:
    """Make a labels layer of each annotated image that is open, or lies beside the only annotation.

    Raises
    ------
    DataError
        If none of the images is open, and it isn't clear which one is meant.
    """
    layers = []
    for name in [path] if isinstance(path, str) else path:
        layers += _read(Path(name))
    return layers


def _read(path: Path) -> list[LayerData]:
    found = read_annotations(path)
    draftsman = Draftsman(found, ImportOptions())
    made = []
    for annotated, image in _open_images(found.images):
        axes = axes_of(image)
        shape = tuple(n for n, letter in zip(array_of(image).shape, axes, strict=True) if letter != "C")
        made += _layer(draftsman, annotated, shape, image.name, transform_of(image, axes))
    if not made and len(found.images) == 1:
        made = _with_its_image(draftsman, found.images[0], path)
    if not made:
        raise _nothing_open(path, found.images, draftsman)
    if draftsman.problems:
        _warn(draftsman)
    return made


def _open_images(annotated: Sequence[AnnotatedImage]) -> list[tuple[AnnotatedImage, Image]]:
    viewer = napari.current_viewer()
    layers = [] if viewer is None else [layer for layer in viewer.layers if isinstance(layer, Image)]
    by_stem: dict[str, Image] = {}
    for layer in layers:
        names = [layer.name] + ([layer.source.path] if layer.source.path else [])
        by_stem |= {file_stem(base_name(str(name))): layer for name in names}
    found = [(a, by_stem[stem]) for a in annotated if (stem := file_stem(base_name(a.name))) in by_stem]
    if not found and len(annotated) == len(layers) == 1 and not annotated[0].named:
        return [(annotated[0], layers[0])]  # such as a RoiSet.zip, which doesn't say of which image it is
    return found


def _with_its_image(draftsman: Draftsman, annotated: AnnotatedImage, path: Path) -> list[LayerData]:
    """Open the image of an annotation, too: it lies beside it, or in a folder called images."""
    stem = file_stem(base_name(annotated.name))
    for folder in (path.parent, path.parent / "images", path.parent.parent / "images", path.parent.parent):
        files = _images_of(folder)
        beside = next((file for file in files if file_stem(file.name).lower() == stem), None)
        if beside is not None:
            image = open_image(beside)
            labels = _layer(draftsman, annotated, image.shape_without_channels, beside.stem, {})
            shown = {"name": beside.stem, "rgb": image.axes.endswith("C")}
            return [(image.array, shown, "image"), *labels] if labels else []
    return _layer(draftsman, annotated, annotated.size, stem, {}) if annotated.size else []


def _images_of(folder: Path) -> list[Path]:
    try:
        return list_images(folder, check_stems=False)
    except DataError:
        return []


def _layer(
    draftsman: Draftsman, annotated: AnnotatedImage, shape: tuple[int, ...], name: str, place: dict[str, Any]
) -> list[LayerData]:
    labels = draftsman.draw(annotated, shape, name)
    if labels is None:
        return []
    look = class_look(draftsman.classes) if draftsman.task == "semantic" else {}
    return [(labels, {"name": f"{name} labels", **look, **place}, "labels")]


def _nothing_open(path: Path, annotated: Sequence[AnnotatedImage], draftsman: Draftsman) -> DataError:
    if draftsman.problems:
        last = draftsman.problems[-1]
        return DataError(f"{path.name}: {last.file}: {last.problem}", "")
    names = ", ".join(image.name for image in annotated[:_SHOWN]) + (" ..." if len(annotated) > _SHOWN else "")
    return DataError(
        f"{path.name} annotates {counted(len(annotated), 'image')} ({names}), and none of them is open.",
        "Open them first. To make label files of all: napari-segnet import-annotations.",
    )


def _warn(draftsman: Draftsman) -> None:
    lines = [f"{p.file}: {p.problem} {p.done.capitalize()}." for p in draftsman.problems]
    more = f"\n... {len(lines)} in all" if len(lines) > _SHOWN else ""
    show_warning("\n".join(lines[:_SHOWN]) + more)
