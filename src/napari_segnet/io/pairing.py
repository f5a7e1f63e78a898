"""Which labels belong to which image: by the names of the files.

Names are compared without their extension (``.ome.tif`` and ``.nii.gz`` count as one) and without regard to
case. First equal names are paired (``cell1.tif`` with ``cell1.png``), then what is left, without these words
at its end or beginning, joined by ``_``, ``-``, ``.`` or a space: mask, masks, label, labels, seg,
segmentation, gt, groundtruth, ground_truth, annotation, annotations, instance, instances, img, image, raw. So
``cell1_img.tif`` goes with ``cell1-mask.png``, and ``image_07.png`` with ``label_07.png``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_segnet.errors import DataError
from napari_segnet.io.dicom import dicom_images, is_dicom_file, is_dicom_folder
from napari_segnet.io.formats import SUFFIXES, is_zarr

_LABEL_WORDS = r"masks?|labels?|seg|segmentation|gt|ground[_ -]?truth|annotations?|instances?"
_WORDS = rf"{_LABEL_WORDS}|img|image|raw"
_AFFIX = re.compile(rf"(?<=[^_\-. ])[_\-. ]+(?:{_WORDS})$|^(?:{_WORDS})[_\-. ]+(?=[^_\-. ])")
_IS_LABEL = re.compile(rf"(?:^|[_\-. ])(?:{_LABEL_WORDS})$|^(?:{_LABEL_WORDS})[_\-. ]")

Paths = Path | str | Sequence[Path | str]
PROBABILITIES = "_probabilities"
"""What the name of a file with the probabilities of STEM ends with."""


@dataclass(frozen=True)
class Pairing:
    """Which image goes with which labels, and what found no partner."""

    pairs: tuple[tuple[Path, Path], ...]
    unpaired_images: tuple[Path, ...] = ()
    unpaired_labels: tuple[Path, ...] = ()


def file_stem(path: Path | str) -> str:
    """Return the name without its extension; ``.ome.tif``, ``.nii.gz``, ``.ome.zarr`` are one extension."""
    name = Path(path).name
    suffix = max((s for s in SUFFIXES if name.lower().endswith(s)), key=len, default="")
    if not suffix and not Path(path).is_dir():
        suffix = Path(path).suffix  # what stands behind a dot in the name of a folder is a part of it
    stem = name[: len(name) - len(suffix)] if suffix else name
    return stem[:-4] if stem.lower().endswith(".ome") and len(stem) > 4 else stem


def pairing_key(path: Path | str) -> str:
    """Return what the names of a pair have in common: lower case, without the words listed above."""
    key = file_stem(path).lower()
    while (shorter := _AFFIX.sub("", key)) != key:
        key = shorter
    return key


def is_label_name(path: Path | str) -> bool:
    """Say whether a name has a word of labels at its end or beginning: ``cell1_mask.png``, ``label_07.png``."""
    return _IS_LABEL.search(file_stem(path).lower()) is not None


def is_label_output(path: Path | str) -> bool:
    """Say whether a file that ``predict`` writes holds labels, not ``_probabilities`` or ``_uncertainty``."""
    return not file_stem(path).lower().endswith((PROBABILITIES, "_uncertainty"))


def natural_key(path: Path) -> tuple[object, ...]:
    """Return a sorting key by which ``2.png`` comes before ``10.png``."""
    parts = re.split(r"(\d+)", path.name.lower())
    return (*((int(p), "") if p.isdecimal() else (-1, p) for p in parts), str(path))


def pair_files(images: Paths, labels: Paths, *, with_itself: bool = False) -> Pairing:
    """Pair images with labels.

    Parameters
    ----------
    images, labels : Path, or several
        Files or folders (not searched deeper). One folder for both holds images and labels side by side:
        labels are the files with a word of labels in their name. One file and one file are a pair whatever
        their names.
    with_itself : bool
        Whether, if both are the same folder and all or none of its files have such a word, each file is paired
        with itself. Right for comparing, wrong for learning.

    Returns
    -------
    Pairing
        In natural order of the images.

    Raises
    ------
    DataError
        If a file or folder is missing or holds no images, if two files in a folder stand for the same name,
        or if nothing goes together.
    """
    image_list, label_list = list_images(images, check_stems=False), list_images(labels, check_stems=False)
    if set(image_list) == set(label_list) and len(image_list) > 1:
        named = [p for p in image_list if is_label_name(p)]
        if 0 < len(named) < len(image_list) or not with_itself:
            label_list, image_list = named, [p for p in image_list if p not in named]
    if len(image_list) == len(label_list) == 1 and not (_is_folder(images) and _is_folder(labels)):
        return Pairing(((image_list[0], label_list[0]),))
    found: dict[Path, Path] = {}
    for key in (lambda p: file_stem(p).lower(), pairing_key):
        taken = set(found.values())
        found |= _match([p for p in image_list if p not in found], [p for p in label_list if p not in taken], key)
    if not found:
        raise DataError(
            f"No image goes with any labels: images are {_names(image_list)}; labels are {_names(label_list)}.",
            "Give an image and its labels the same name, or one that ends with _mask.",
        )
    taken = set(found.values())
    return Pairing(
        tuple((p, found[p]) for p in image_list if p in found),
        tuple(p for p in image_list if p not in found),
        tuple(p for p in label_list if p not in taken),
    )


def _match(images: list[Path], labels: list[Path], key: Callable[[Path], str]) -> dict[Path, Path]:
    by_image, by_label = _group(images, key), _group(labels, key)
    shared = by_image.keys() & by_label.keys()
    for name in sorted(shared):
        for files in (by_image[name], by_label[name]):
            if len(files) > 1:
                raise DataError(
                    f"{files[0]} and {files[1].name} both stand for {name!r}: it isn't clear which one goes "
                    "into the pair.",
                    "Move or rename one of them.",
                )
    return {by_image[name][0]: by_label[name][0] for name in shared}


def _group(files: list[Path], key: Callable[[Path], str]) -> dict[str, list[Path]]:
    groups = defaultdict(list)
    for file in files:
        groups[key(file)].append(file)
    return groups


def list_images(paths: Paths, *, check_stems: bool = True) -> list[Path]:
    """Return the images among files and folders.

    Parameters
    ----------
    paths : Path, or several
        Files, OME-Zarr folders, folders with the files of a DICOM series, or folders of these (not searched deeper;
        hidden files are left out).
    check_stems : bool
        Whether two images of one name (``a.png``, ``a.tif``) are an error: their outputs would be one file.

    Returns
    -------
    list of Path
        In the order given; those of a folder in natural order (2 before 10).

    Raises
    ------
    DataError
        If something is missing, a folder holds no images, or a file is of no known format.
    """
    given = [paths] if isinstance(paths, Path | str) else list(paths)
    found = list(dict.fromkeys(file for path in given for file in _expand(Path(path))))
    if not found:
        raise DataError("No images were given.", "Name files or folders.")
    if check_stems:
        for name, files in _group(found, lambda p: file_stem(p).lower()).items():
            if len(files) > 1:
                raise DataError(f"{files[0]} and {files[1]} would both be written as {name!r}.", "Rename one of them.")
    return found


def _expand(path: Path) -> Iterable[Path]:
    if not path.exists():
        raise DataError(f"There is no file or folder {path}.", "Check the name.")
    if not path.is_dir() or is_zarr(path):
        if not path.name.lower().endswith(SUFFIXES) and not path.is_dir() and not is_dicom_file(path):
            raise DataError(f"{path} is of no format that can be read.", f"Formats: {', '.join(SUFFIXES)}.")
        return [path]
    try:
        if is_dicom_folder(path):
            return dicom_images(path)
        inside = [p for p in path.iterdir() if not p.name.startswith(".") and _is_image(p)]
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}.") from error
    if not inside:
        raise DataError(
            f"The folder {path} holds no images.",
            f"Formats: {', '.join(SUFFIXES)}. Folders inside it are not searched: name them instead.",
        )
    return sorted(inside, key=natural_key)


def _is_image(path: Path) -> bool:
    if path.is_dir():
        return is_zarr(path) if path.name.lower().endswith(".zarr") else is_dicom_folder(path)
    return path.is_file() and path.name.lower().endswith(SUFFIXES) and not path.name.lower().endswith(".zarr")


def _is_folder(paths: Paths) -> bool:
    if not isinstance(paths, Path | str) or not Path(paths).is_dir():
        return False
    return not is_zarr(Path(paths)) and not is_dicom_folder(Path(paths))


def _names(files: list[Path]) -> str:
    shown = ", ".join(p.name for p in files[:3])
    return (shown + (f" ... ({len(files)} in all)" if len(files) > 3 else "")) or "none"
