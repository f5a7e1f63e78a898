"""Models of other tools, made into model files of napari-segnet.

An importer is one module with `recognizes(path)` and `read(path, config)`, and one entry in `IMPORTERS`. It finds
out which of our networks has the layers of the file, and brings the weights into that network's order; what it
can't say for certain it asks for, and what it leaves out it says. Nothing in a file is ever executed. This module
imports no torch.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Self

from pydantic import Field, model_validator

from napari_segnet.config import Frozen, PatchSize
from napari_segnet.errors import ModelFileError, unknown_name
from napari_segnet.importers.intensities import Intensities
from napari_segnet.models.info import ModelInfo

__all__ = ["IMPORTERS", "ImportConfig", "Importer", "import_model"]

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Importer:
    """A kind of file that can be imported; `module` is one of this room."""

    name: str
    reads: str
    module: str

    def load(self) -> ModuleType:
        """Import the module, and torch with it."""
        return importlib.import_module(f"napari_segnet.importers.{self.module}")


IMPORTERS: dict[str, Importer] = {
    importer.name: importer
    for importer in (
        Importer(
            "keras", "U-Nets of imageseg, platypus and workshops: .hdf5, .h5, .keras, TensorFlow's .index", "keras"
        ),
        Importer("smp", "Folders of segmentation-models-pytorch's save_pretrained", "smp"),
        Importer("monai", "MONAI bundles: folders with configs/ and models/", "monai"),
        Importer("weights", "Weights of a network that is named: .pt, .pth, .safetensors", "weights"),
    )
}


class ImportConfig(Frozen):
    """What the file doesn't say itself."""

    format: str = Field("auto", description="One of the importers, or auto: found from the file.")
    network: str | None = Field(None, description="For weights alone: the network that they belong to.")
    encoder: str | None = Field(None, description="For weights alone: its encoder.")
    options: dict[str, int | float | bool | str] = Field(
        default_factory=dict, description="Options of the network, where they can't be found in the file."
    )
    classes: tuple[str, ...] = Field((), max_length=250, description="Names of the classes, in the model's order.")
    intensities: Intensities = Field("auto", description="What the model was fed with: see docs/importing.md.")
    minimum: float = Field(0, description="Value of an image that became 0 there.")
    maximum: float = Field(255, description="Value of an image that became 1 there.")
    patch_size: PatchSize | None = Field(None, description="Side of patches for learning on, pixels.")

    @model_validator(mode="after")
    def _range_is_no_point(self) -> Self:
        if self.maximum <= self.minimum:
            raise ValueError(f"maximum = {self.maximum:g} is not above minimum = {self.minimum:g}")
        return self


def import_model(
    path: Path | str,
    out: Path | str,
    config: ImportConfig | None = None,
    *,
    on_note: Callable[[str], None] = lambda _text: None,
) -> ModelInfo:
    """Make a model file of a model that another tool has trained.

    Parameters
    ----------
    path : Path or str
        The file or folder; which tool wrote it is found from what is in it.
    out : Path or str
        The ``.safetensors`` file to write: complete, or not at all.
    config : ImportConfig, optional
        What the file doesn't say itself.
    on_note : callable, optional
        Told, a sentence each, what was assumed.

    Returns
    -------
    ModelInfo
        What the new model file says of itself.

    Raises
    ------
    SegNetError
        If the file is damaged, is of a kind or holds a network that can't be imported, or more has to be said.
    """
    path, out, config = Path(path), Path(out), config or ImportConfig()
    if not path.exists() and path.with_name(path.name + ".index").is_file():
        path = path.with_name(path.name + ".index")  # R and Keras name weights of TensorFlow without an ending
    if not path.exists():
        raise ModelFileError(f"There is no file {path}.", "Check the name.")
    if out.is_dir() or out.suffix != ".safetensors":
        raise ModelFileError(f"{out} is no name for a model file.", "Name a file that ends with .safetensors.")
    importer = _find(path, config.format)
    module = importer.load()
    from napari_segnet.importers import assemble

    info, network, notes = assemble.assemble(module.read(path, config), config)
    info = info.replace(fingerprint={"imported_from": path.name, "importer": importer.name, "sha256": _digest(path)})
    assemble.write(out, info, network)
    for note in notes:
        on_note(note)
    return info


def _find(path: Path, name: str) -> Importer:
    if name != "auto":
        if name not in IMPORTERS:
            raise unknown_name("importer", name, IMPORTERS)
        return IMPORTERS[name]
    for importer in IMPORTERS.values():
        if importer.load().recognizes(path):
            return importer
    raise ModelFileError(
        f"{path} is nothing that can be imported.", f"These are: {'; '.join(i.reads for i in IMPORTERS.values())}."
    )


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files in order of their names."""
    digest = hashlib.sha256()
    for part in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if part.is_file():
            with part.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
    return digest.hexdigest()
