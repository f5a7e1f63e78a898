"""Where an export goes: one file with others beside it, a folder, or a zip file; whole, or not at all."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from napari_segnet.errors import ConfigError, SegNetError

ZIP = ".zip"


@dataclass(frozen=True)
class Place:
    """Where to write, and under which name.

    Attributes
    ----------
    folder : Path
        A temporary folder, on the disk of the target.
    stem : str
        Name of the files that are written, without what stands behind it.
    suffix : str
        Ending of the main file.
    """

    folder: Path
    stem: str
    suffix: str

    @property
    def main(self) -> Path:
        """The main file."""
        return self.folder / f"{self.stem}{self.suffix}"


@contextmanager
def placed(out: Path, suffixes: Sequence[str]) -> Iterator[Place]:
    """Give a temporary folder to write into; what is in it at the end goes to `out`.

    Parameters
    ----------
    out : Path
        With ``.zip``: one zip file with all of it. With another of `suffixes`: the main file, and other files beside
        it. Without an ending: a folder.
    suffixes : sequence of str
        Endings of the main file, the usual one first.

    Raises
    ------
    ConfigError
        If `out` is no name for this, or a folder with something in it.
    SegNetError
        If it can't be written.
    """
    kind = out.suffix.lower()
    single = kind in suffixes and kind != ZIP
    if not single and kind != ZIP and (out.is_file() or (kind and not out.is_dir())):
        endings = " or ".join(dict.fromkeys([*suffixes, ZIP]))
        raise ConfigError(f"{out} is no name for this.", f"Name a file that ends with {endings}, or a folder.")
    if out.is_dir() and (single or kind == ZIP):
        raise ConfigError(f"{out} is a folder.", "Choose another --out.")
    if not single and kind != ZIP and out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"The folder {out} exists and is not empty.", "Choose another --out, or empty it.")
    stem = out.name[: -len(kind)] if single else "model"
    temporary = out.parent / f".{out.name}.{os.getpid()}.tmp"
    made = [folder for folder in out.parents if not folder.exists()]
    try:
        temporary.mkdir(parents=True)
        yield Place(temporary, stem, kind if single else suffixes[0])
        if single:
            _move_beside(temporary, out)
        elif kind == ZIP:
            _move_as_zip(temporary, out)
        else:
            _move_as_folder(temporary, out)
    except OSError as error:
        raise SegNetError(f"{out} can't be written: {error.strerror or error}.", "Choose another place.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            for folder in made:
                folder.rmdir()  # only what is empty goes: nothing was written


def _move_beside(temporary: Path, out: Path) -> None:
    # The main file last: where it is, the others are there already.
    for file in sorted(temporary.iterdir(), key=lambda path: path.name == out.name):
        file.replace(out.with_name(file.name))


def _move_as_zip(temporary: Path, out: Path) -> None:
    packed = temporary.with_name(f"{temporary.name}{ZIP}")
    try:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for path in sorted(temporary.rglob("*")):
                file.write(path, path.relative_to(temporary).as_posix())
        packed.replace(out)
    finally:
        packed.unlink(missing_ok=True)


def _move_as_folder(temporary: Path, out: Path) -> None:
    with suppress(FileNotFoundError):
        out.rmdir()
    temporary.replace(out)
