"""Which annotation belongs to which image file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from napari_segnet.annotations.model import AnnotatedImage
from napari_segnet.io.pairing import file_stem, pairing_key

Say = Callable[[str, str, str], None]
"""Takes a line of the table of problems: file, problem, what was done."""
_LONGEST_NAME = 250


def pair_images(
    annotated: Sequence[AnnotatedImage], files: Sequence[Path], say: Say
) -> Iterator[tuple[AnnotatedImage, Path]]:
    """Pair by file name, then by stem, then by what a stem has in common with labels; say what has no partner."""
    names, stems, keys = (_by_key(files, key) for key in (base_name, _stem, lambda name: pairing_key(base_name(name))))
    merged: dict[Path, AnnotatedImage] = {}
    for image in annotated:
        name = base_name(image.name)
        found = names.get(name) or stems.get(name) or stems.get(_stem(name)) or keys.get(pairing_key(name)) or []
        if not found and not image.named and len(annotated) == len(files) == 1:
            found = list(files)
        if not found:
            say(image.source, f"There is no image {name!r}.", "left out")
        elif len(found) > 1:
            say(image.source, f"{name!r} can be {found[0].name} or {found[1].name}.", "left out")
        elif found[0] in merged:
            merged[found[0]] = _both(merged[found[0]], image, say)
        else:
            merged[found[0]] = image
    for path in files:
        if path in merged:
            yield merged[path], path
        else:
            say(path.name, "It has no annotation.", "left out")


def base_name(name: str) -> str:
    """Return the file name of a path or address that Windows or another system wrote, in lower case."""
    base = PureWindowsPath(PurePosixPath(name.replace("\\", "/")).name).name.lower()
    # Longer ones are no names of files: asking whether there is such a file would fail.
    return base.encode()[:_LONGEST_NAME].decode(errors="ignore")


def _stem(name: str) -> str:
    return file_stem(base_name(name))


def _both(one: AnnotatedImage, other: AnnotatedImage, say: Say) -> AnnotatedImage:
    """Join two annotations of an image; of two masks the first counts, and of one file's images of two folders."""
    if one.source == other.source and one.name != other.name:
        say(one.source, f"{one.name!r} and {other.name!r} have one file name.", "left out: the second")
        return one
    if one.labels is not None or other.labels is not None:
        say(other.source, f"{one.source} has labels of {one.name!r} already.", "left out")
        return one
    return replace(one, regions=(*one.regions, *other.regions))


def _by_key(files: Sequence[Path], key: Callable[[str], str]) -> dict[str, list[Path]]:
    table: dict[str, list[Path]] = {}
    for path in files:
        table.setdefault(key(path.name), []).append(path)
    return table
