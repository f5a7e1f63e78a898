"""Packages of bioimage.io, and exported files with a JSON beside them, as models to predict with. No torch.

A package is a folder or a zip file with a description (``rdf.yaml``, ``bioimageio.yaml``) of format 0.4 or 0.5. Its
files are read by name; nothing is unpacked into a folder of the user's, fetched, unpickled or executed as Python.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path

from napari_segnet.config import validated
from napari_segnet.data.normalization import Normalization
from napari_segnet.errors import ConfigError, ModelFileError
from napari_segnet.models.info import ModelInfo
from napari_segnet.models.packages.archive import Archive
from napari_segnet.models.packages.description import read_description
from napari_segnet.models.packages.recipe import RUNTIMES, Attached, Foreign, Recipe, Runtime, Sides
from napari_segnet.models.packages.yaml_text import MOST_BYTES, read_yaml

__all__ = [
    "DESCRIPTIONS", "SIDECAR_FORMAT", "Attached", "Foreign", "attached_model", "is_package", "model_bytes",
    "open_package", "read_package_info", "sidecar_of",
]  # fmt: skip

DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml", "rdf.yml", "bioimageio.yml")
"""Names of a package's description."""
SIDECAR_FORMAT = "napari-segnet export 1"
"""What a JSON beside an exported file says of itself."""
_MOST_SIDECAR = 50_000_000
_EXPORTED: dict[str, Runtime] = {".onnx": "onnx", ".pt": "torchscript", ".pth": "torchscript", ".ts": "torchscript"}


def is_package(path: Path | str) -> bool:
    """Say whether a path is a package (a zip file, or a folder with a description), or an exported file."""
    path = Path(path)
    if path.is_dir():
        return any((path / name).is_file() for name in DESCRIPTIONS)
    suffix = path.suffix.lower()
    return path.name in DESCRIPTIONS or suffix in (".zip", ".onnx") or (suffix in _EXPORTED and _described(path))


def _described(path: Path) -> bool:
    return sidecar_of(path).is_file()


def sidecar_of(path: Path) -> Path:
    """Return the JSON that describes an exported file: its name, and ``.json`` behind it."""
    return path.with_name(f"{path.name}.json")


def open_package(path: Path | str) -> Foreign | Attached:
    """Look into a package, or at an exported file.

    Raises
    ------
    ModelFileError
        If it is damaged, or asks for something that can't be done here.
    """
    path = Path(path)
    try:
        if path.suffix.lower() in _EXPORTED and not path.is_dir():
            return _read_sidecar(path)
        return _read_package(path.parent if path.name in DESCRIPTIONS else path)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, OverflowError) as error:
        raise ModelFileError(
            f"{path} doesn't describe a model in a way that is known here.", "It is damaged, incomplete, or too new."
        ) from error
    except ConfigError as error:
        raise ModelFileError(f"{path} describes a model that can't be used: {error}") from None


def read_package_info(path: Path | str) -> ModelInfo:
    """Return what a package, or an exported file, says of its model.

    Raises
    ------
    ModelFileError
        As for `open_package`.
    """
    from napari_segnet.models.info import read_info

    package = open_package(path)
    if isinstance(package, Foreign):
        return package.info
    with attached_model(package) as model:
        return read_info(model)


def model_bytes(path: Path | str) -> bytes:
    """Return the content of a model file, or of the model file in a package, to learn from or to keep.

    Raises
    ------
    ModelFileError
        If the network of a package is one that only another runtime can run.
    """
    path = Path(path)
    if not is_package(path):
        return path.read_bytes()
    package = open_package(path)
    if isinstance(package, Foreign):
        raise ModelFileError(
            f"{path} holds no model file: its network is one for {package.recipe.runtime}, to predict with only.",
            "Use the package as it is; to learn from, take a model file or a package that napari-segnet has exported.",
        )
    return package.archive.read(package.name, sha256=package.sha256)


@contextmanager
def attached_model(package: Attached) -> Iterator[Path]:
    """Give the model file in a package as a file of its own, for as long as it is needed."""
    content = package.archive.read(package.name, sha256=package.sha256)
    with tempfile.TemporaryDirectory(prefix="napari-segnet-") as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(content)
        try:
            yield path
        except ModelFileError as error:
            where = f"{package.name} in {package.archive.path}"
            raise ModelFileError(error.problem.replace(str(path), where), error.remedy) from error


def _read_package(path: Path) -> Foreign | Attached:
    archive = Archive(path)
    # Some archives hold a folder that holds everything.
    found = [name for name in archive.names if name.rpartition("/")[2] in DESCRIPTIONS and name.count("/") < 2]
    if not found:
        raise ModelFileError(
            f"{path} holds no description of a model ({DESCRIPTIONS[0]} or {DESCRIPTIONS[1]}).",
            "Name a package of bioimage.io, a model file or a run folder.",
        )
    name = min(found, key=lambda one: (one.count("/"), DESCRIPTIONS.index(one.rpartition("/")[2])))
    folder, slash, _ = name.rpartition("/")
    tree = read_yaml(archive.read(name, MOST_BYTES), f"{name} in {path}")
    # Where onnxruntime is missing, packages may hold TorchScript, too.
    installed = [runtime for runtime in RUNTIMES if runtime != "onnx" or util.find_spec("onnxruntime") is not None]
    return read_description(archive, folder + slash, tree, installed)


def _read_sidecar(path: Path) -> Foreign:
    if not path.is_file():
        raise ModelFileError(f"There is no file {path}.", "Check the name.")
    beside = sidecar_of(path)
    if not beside.is_file():
        raise ModelFileError(
            f"{path} doesn't say how to use it: there is no {beside.name} beside it.",
            "Keep the files together that napari-segnet export writes, or use a package of bioimage.io.",
        )
    archive = Archive(path.parent)
    said = json.loads(archive.read(beside.name, _MOST_SIDECAR))
    if said["format"] != SIDECAR_FORMAT:
        raise ModelFileError(f"{beside} was not written by napari-segnet export.", "Export the model again.")
    info = validated(ModelInfo, said["model"])
    runtime, axes = _EXPORTED[path.suffix.lower()], f"bc{info.axes.lower()}"
    # Others are told not to go below what was tried; ours is padded as the model itself is.
    sides = tuple(Sides(stride, stride) for stride in info.strides)
    recipe = Recipe(runtime, path.name, str(said["sha256"]), axes, axes, sides)
    inside = said["normalization"]["place"] == "inside"
    return Foreign(
        archive,
        info.replace(
            network=runtime,
            encoder=None,
            options={},
            norm=None,
            members=(),
            normalization=Normalization(mode="none", clip=1e6) if inside else info.normalization,
        ),
        recipe,
    )
