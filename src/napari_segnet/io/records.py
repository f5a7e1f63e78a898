"""From paired files to the records of a run folder."""

from __future__ import annotations

from napari_segnet.axes import times
from napari_segnet.errors import DataError
from napari_segnet.io.images import ImageFile, open_image, open_labels
from napari_segnet.io.pairing import Pairing, file_stem
from napari_segnet.run import PairRecord


def make_records(pairing: Pairing, axes: str | None = None) -> list[PairRecord]:
    """Look at each pair of files, and describe it.

    Parameters
    ----------
    pairing : Pairing
        Images and their labels.
    axes : str, optional
        Axes of all images, where the guess is wrong.

    Returns
    -------
    list of PairRecord
        Absolute paths; names are those of the images, without extension, each different.

    Raises
    ------
    DataError
        If a file can't be used, or labels are of another size than their image.
    """
    records: list[PairRecord] = []
    names: set[str] = set()
    for image_path, label_path in pairing.pairs:
        image = open_image(image_path, axes)
        labels = open_labels(label_path, image.axes)
        check_sizes(image, labels)
        stem = name = file_stem(image_path)
        number = 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.add(name)
        records.append(
            PairRecord(
                name=name,
                images=(str(image_path.resolve()),),
                labels=str(label_path.resolve()),
                axes=image.axes,
                pixel_size=image.pixel_size,
                units=image.units,
            )
        )
    return records


def check_sizes(image: ImageFile, labels: ImageFile) -> None:
    """Raise `DataError` if labels are of another size than their image without its channels."""
    expected = image.shape_without_channels
    if labels.shape == expected:
        return
    turned = labels.shape[:-2] + labels.shape[:-3:-1] == expected
    raise DataError(
        f"{labels.path.name} doesn't fit {image.path.name}: the labels are {times(labels.shape)}, the "
        f"image is {times(expected)} ({image.axes.replace('C', '')}).",
        "The labels are turned by 90 degrees or mirrored at the diagonal: export them again."
        if turned
        else "Labels need the size of their image. If the axes were guessed wrong, set data.axes.",
    )
