"""The planes or volumes of a label file, one after another, and what belongs to each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.annotations.model import Region
from napari_segnet.io.class_file import ClassTable
from napari_segnet.io.images import ImageFile, open_image, open_labels
from napari_segnet.io.pairing import file_stem
from napari_segnet.measure.meaning import Labels
from napari_segnet.measure.options import MeasureOptions
from napari_segnet.measure.sources import Images, RegionFiles, object_classes


@dataclass(frozen=True)
class Sources:
    """What is measured besides labels; `numbered` is the class table of numbered objects."""

    images: tuple[Images, ...] = ()
    probabilities: Mapping[Path, Path] = field(default_factory=dict)
    class_labels: Images | None = None
    regions: RegionFiles | None = None
    numbered: ClassTable | None = None

    def missing(self, labels: Path) -> Iterator[str]:
        """Say what there is for others, but not for these labels."""
        for source in (*self.images, *((self.class_labels,) if self.class_labels else ())):
            if labels not in source.of:
                yield f"image in {source.name!r}"
        if self.probabilities and labels not in self.probabilities:
            yield "probabilities"
        if self.regions is not None and labels not in self.regions:
            yield "regions"


@dataclass(frozen=True)
class Item:
    """A plane or a volume, and what belongs to it.

    `where` are its image, time and plane; `nan_files` the files of images and probabilities that hold NaN there.
    """

    where: dict[str, Any]
    labels: Labels
    spacing: float | Sequence[float] | None
    units: str | None
    images: dict[str, NDArray[Any]]
    probabilities: NDArray[Any] | None
    class_labels: NDArray[Any] | None
    object_classes: Mapping[int, int] | None
    regions: Sequence[Region] | NDArray[Any] | None
    nan_files: tuple[str, ...] = ()


def spatial_axes(labels: ImageFile, options: MeasureOptions) -> str:
    """Return the axes of an item: ZYX of volumes, unless their planes are measured."""
    return "ZYX" if "Z" in labels.axes and not options.planes else "YX"


def items(opened: ImageFile, sources: Sources, options: MeasureOptions) -> Iterator[Item]:
    """Yield the planes or volumes of a label file, and what belongs to each.

    Raises
    ------
    DataError
        If something has another size than the labels, or can't be read.
    """
    spatial = spatial_axes(opened, options)
    opened_images = [(source.name, source.open(opened)) for source in sources.images]
    images = {name: image for name, image in opened_images if image is not None}
    probable = sources.probabilities.get(opened.path)
    probabilities = None if probable is None else open_image(probable)
    kinds = None if sources.class_labels is None else sources.class_labels.of.get(opened.path)
    class_labels = None if kinds is None else open_labels(kinds, opened.axes)
    regions = None if sources.regions is None else sources.regions.of(opened)
    size: float | Sequence[float] | None = options.pixel_size
    units = options.units
    for file in (opened, *images.values()):
        if size is None and file.pixel_size is not None:
            size, units = file.pixel_size, file.units
    stack = opened.stack(spatial)
    for i in range(len(stack)):
        place = dict(zip(stack.leading_axes.lower(), stack.index(i), strict=True))
        channels = {name: dict(_channels(name, image, spatial, i)) for name, image in images.items()}
        chances = None if probabilities is None else np.asarray(probabilities.stack(spatial)[i])
        nan_files = [images[name].path.name for name, found in channels.items() if any(map(_holds_nan, found.values()))]
        if probabilities is not None and chances is not None and _holds_nan(chances):
            nan_files.append(probabilities.path.name)
        yield Item(
            where={"image": file_stem(opened.path), **place},
            labels=np.asarray(stack[i][0]),
            spacing=size,
            units=units,
            images={name: channel for found in channels.values() for name, channel in found.items()},
            probabilities=chances,
            class_labels=None if class_labels is None else np.asarray(class_labels.stack(spatial)[i][0]),
            object_classes=object_classes(opened.path, sources.numbered),
            regions=_regions_of(regions, spatial, i, place),
            nan_files=tuple(nan_files),
        )


def _channels(name: str, image: ImageFile, spatial: str, i: int) -> Iterator[tuple[str, NDArray[Any]]]:
    channels = image.stack(spatial)[i]
    for number in range(channels.shape[0]):
        yield (name if channels.shape[0] == 1 else f"{name}_c{number + 1}"), np.asarray(channels[number])


def _holds_nan(values: NDArray[Any]) -> bool:
    return values.dtype.kind == "f" and bool(np.isnan(values).any())


def _regions_of(
    regions: Sequence[Region] | ImageFile | None, spatial: str, i: int, place: Mapping[str, int]
) -> Sequence[Region] | NDArray[Any] | None:
    """Return the regions of one plane or volume; None if there are none."""
    if isinstance(regions, ImageFile):
        numbers = np.asarray(regions.stack(spatial)[i][0])
        return numbers if numbers.any() else None
    return [region for region in regions or () if _lies_in(region, spatial, place)] or None


def _lies_in(region: Region, spatial: str, place: Mapping[str, int]) -> bool:
    """Say whether a region was drawn on an item at some time and depth. One number is that of a plane of a stack."""
    if isinstance(region.plane, tuple):
        time, depth = region.plane
        return time == place.get("t", time) and depth == place.get("z", depth)
    if region.plane is None or spatial == "ZYX":
        return True
    return region.plane == place.get("z", place.get("t", region.plane))
