"""Where images and labels lie: the layouts of folders that people have.

A folder may hold images and labels side by side; or ``images`` and ``masks`` (or ``labels`` ...) below it; or parts
``train``, ``val`` and ``test``, each of one of these layouts, or below ``images`` and ``masks``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_segnet.errors import DataError
from napari_segnet.io.dicom import is_dicom_folder
from napari_segnet.io.formats import is_zarr
from napari_segnet.io.pairing import is_label_name, list_images, natural_key, pair_files

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "raw")
LABEL_FOLDERS = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "segmentations", "segmentation", "seg", "gt",
    "ground_truth", "groundtruth", "instances",
)  # fmt: skip
PART_FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}


@dataclass(frozen=True)
class Part:
    """Images that belong together, and their labels.

    Attributes
    ----------
    name : str
        ``"train"``, ``"val"``, ``"test"``, or empty where there is one part.
    pairs : tuple of (Path, Path or None)
        Each image with its labels, None where it has none.
    unpaired_labels : tuple of Path
    problem : str
        Why nothing could be paired; empty where something could.
    others : tuple of Path
        Folders of other labels of the same images, which were not looked at.
    """

    name: str
    pairs: tuple[tuple[Path, Path | None], ...]
    unpaired_labels: tuple[Path, ...] = ()
    problem: str = ""
    others: tuple[Path, ...] = ()

    @property
    def labelled(self) -> int:
        """Number of images with labels."""
        return sum(labels is not None for _, labels in self.pairs)


def find_parts(images: Path | str, labels: Path | str | None = None) -> list[Part]:
    """Find the images and labels of a data set.

    Parameters
    ----------
    images : Path
        A file or a folder of images; without `labels` also a folder in one of the layouts above.
    labels : Path, optional
        A file or a folder.

    Returns
    -------
    list of Part
        One, or one each for training, validation and test. Where nothing pairs, the part says why.

    Raises
    ------
    DataError
        If something is missing, or there are no images.
    """
    images, labels = Path(images), None if labels is None else Path(labels)
    for path in (images, labels):
        if path is not None and not path.exists():
            raise DataError(f"There is no file or folder {path}.", "Check the name.")
    if not _is_plain_folder(images):
        return [_pair("", images, labels)]
    parts = _subfolders(images, PART_FOLDERS)
    if labels is not None:
        of_labels = _subfolders(labels, PART_FOLDERS) if _is_plain_folder(labels) else {}
        if parts and of_labels:
            return [_pair(name, folder, of_labels.get(name)) for name, folder in parts.items()]
        return [_pair("", images, labels)]
    if parts:
        return [_one(name, folder) for name, folder in parts.items()]
    inside, others = _images_and_labels(images)
    if inside is not None and others:
        parts = _subfolders(inside, PART_FOLDERS)
        of_labels = _subfolders(others[0], PART_FOLDERS)
        if parts and of_labels:
            return [_pair(name, folder, of_labels.get(name)) for name, folder in parts.items()]
    return [_one("", images)]


def _one(name: str, folder: Path) -> Part:
    images, labels = _images_and_labels(folder)
    if images is None:
        return _pair(name, folder, None)
    return _pair(name, images, labels[0] if labels else None, labels[1:])


def _images_and_labels(folder: Path) -> tuple[Path | None, list[Path]]:
    """Return the subfolder of images, and those of labels, the likeliest first."""
    below = _folders(folder)
    images = next((below[name] for name in IMAGE_FOLDERS if name in below), None)
    return images, [below[name] for name in LABEL_FOLDERS if name in below]


def _pair(name: str, images: Path, labels: Path | None, others: Sequence[Path] = ()) -> Part:
    if labels is None:
        return _side_by_side(name, images)
    try:
        pairing = pair_files(images, labels)
    except DataError as error:
        left = list_images(labels, check_stems=False)
        if images == labels:
            left = [path for path in left if is_label_name(path)]
        found = [path for path in list_images(images, check_stems=False) if images != labels or path not in left]
        return Part(name, tuple((path, None) for path in found), tuple(left), str(error), tuple(others))
    partners: dict[Path, Path | None] = {**dict(pairing.pairs), **dict.fromkeys(pairing.unpaired_images)}
    pairs = tuple((path, partners[path]) for path in sorted(partners, key=natural_key))
    return Part(name, pairs, pairing.unpaired_labels, others=tuple(others))


def _side_by_side(name: str, images: Path) -> Part:
    found = list_images(images, check_stems=False)
    named = [path for path in found if is_label_name(path)]
    if 0 < len(named) < len(found):
        return _pair(name, images, images)
    return Part(name, tuple((path, None) for path in found))


def _subfolders(folder: Path, names: dict[str, tuple[str, ...]]) -> dict[str, Path]:
    below = _folders(folder)
    found = {key: next((below[n] for n in choices if n in below), None) for key, choices in names.items()}
    return {key: path for key, path in found.items() if path is not None}


def _folders(folder: Path) -> dict[str, Path]:
    try:
        return {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    except OSError as error:
        raise DataError(f"{folder} can't be read: {error.strerror or error}.") from error


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not is_zarr(path) and not is_dicom_folder(path)
