"""Reads the files of Keras without Keras: layers, how they are connected, and their weights.

Three layouts hold the same: HDF5 of Keras 2, which R's keras writes (whole models with a JSON text ``model_config``
and the weights in the group ``model_weights``, or weights alone), weights of Keras 3 (``.weights.h5``), and
its archives (``.keras``) of a JSON text and such weights. Nothing is executed: a layer is a name and numbers here.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from napari_segnet.errors import ModelFileError

HDF5 = b"\x89HDF\r\n\x1a\n"
_ARCHIVED_JSON, _ARCHIVED_WEIGHTS = "config.json", "model.weights.h5"
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
_MOST_JSON = 50_000_000
_MOST_COMPRESSED = 4
"""Keras doesn't compress weights, and they hardly can be: more is made to fill the memory."""
_DAMAGED = (
    OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
"""What reading a file raises that isn't what it seems to be."""
_NAMES = {
    "Conv2D": ("conv2d", ("kernel", "bias")),
    "Conv2DTranspose": ("conv2d_transpose", ("kernel", "bias")),
    "BatchNormalization": ("batch_normalization", ("gamma", "beta", "moving_mean", "moving_variance")),
}
"""How Keras calls layers of a kind, and the order of their weights."""
_SWITCHES = {"bias": "use_bias", "gamma": "scale", "beta": "center"}
"""Settings that a layer can be made without some weights by."""


@dataclass(frozen=True)
class Layer:
    """One layer of a file; `config` and `inputs` are empty where the file holds weights alone."""

    name: str
    kind: str
    weights: dict[str, h5py.Dataset] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class KerasFile:
    """The layers of a file, in Keras' order.

    `output` is the name of the last layer, None where the file doesn't say how layers are connected.
    """

    layers: tuple[Layer, ...]
    output: str | None
    version: str


class _Config(BaseModel):
    """The parts of Keras' JSON that matter."""

    class_name: str
    name: str = ""
    config: dict[str, Any]
    inbound_nodes: list[Any] = []


def is_keras(path: Path) -> bool:
    """Say whether a file is HDF5, or an archive of Keras 3."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(len(HDF5)) == HDF5:
            return True
    try:
        with zipfile.ZipFile(path) as archive:
            return {_ARCHIVED_JSON, _ARCHIVED_WEIGHTS} <= set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):
        return False


@contextmanager
def open_keras(path: Path) -> Iterator[KerasFile]:
    """Open a file of Keras; weights can be read until it is closed.

    Raises
    ------
    ModelFileError
        If it is damaged, links to other files, or holds no layers; also when weights are read that are damaged.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                config = json.loads(_member(archive, _ARCHIVED_JSON))
                # Weights are stored, not compressed: they take no more memory than the file is long.
                with h5py.File(io.BytesIO(_member(archive, _ARCHIVED_WEIGHTS, path.stat().st_size)), "r") as file:
                    yield _read(file, config, str(config.get("keras_version", "3")))
        else:
            with h5py.File(path, "r", locking=False) as file:
                text = file.attrs.get("model_config")
                version = _text(file.attrs.get("keras_version", "unknown"))
                yield _read(file, None if text is None else json.loads(_text(text)), version)
    except _DAMAGED as error:
        said = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise ModelFileError(f"{path} is no file of Keras, or is damaged: {said}.", "Save or copy it again.") from error


def read_array(dataset: h5py.Dataset) -> NDArray[np.float32]:
    """Read one array of weights as float32, of which nobody else knows."""
    return np.array(dataset[()], np.float32)


def _member(archive: zipfile.ZipFile, name: str, limit: int = _MOST_JSON) -> bytes:
    if archive.getinfo(name).file_size > limit:
        raise ValueError(f"{name} is larger than it can be")
    return archive.read(name)


def _read(file: h5py.File, config: Any, version: str) -> KerasFile:
    configs, output = ([], None) if config is None else _graph(config)
    root = file.get("model_weights", file)
    if "layer_names" in root.attrs or "layer_names0" in root.attrs:
        weights = {name: _named_weights(root[name]) for name in _names(root, "layer_names")}
        order = list(weights)
    else:
        weights, order = _numbered_weights(file, configs)
    if config is None:
        layers = [Layer(name, _kind(name, weights[name]), weights[name]) for name in order]
        return KerasFile(tuple(layers), None, version)
    layers = [Layer(c.name, c.class_name, weights.get(c.name, {}), c.config, _inputs(c.inbound_nodes)) for c in configs]
    return KerasFile(tuple(layers), output, version)


def _graph(config: Any) -> tuple[list[_Config], str]:
    model = _Config.model_validate(config)
    if model.class_name not in ("Functional", "Model"):
        raise ValueError(f"it holds a {model.class_name} model instead of a functional one")
    layers = [_Config.model_validate(layer) for layer in model.config["layers"]]
    # Keras 2 keeps the name beside the configuration, Keras 3 in it, too.
    layers = [layer.model_copy(update={"name": layer.name or layer.config["name"]}) for layer in layers]
    outputs = _histories(model.config["output_layers"])
    if len(outputs) != 1:
        raise ValueError(f"it has {len(outputs)} outputs instead of one")
    return layers, outputs[0]


def _inputs(nodes: list[Any]) -> tuple[str, ...]:
    if len(nodes) > 1:
        raise ValueError("a layer is used more than once")
    return tuple(_histories(nodes))


def _histories(tree: Any) -> list[str]:
    """Return the layers whose outputs are named in Keras' JSON: ``[name, 0, 0, {}]``, or ``keras_history`` in it."""
    if isinstance(tree, dict):
        if "keras_history" in tree:
            return [str(tree["keras_history"][0])]
        return [name for value in tree.values() for name in _histories(value)]
    if isinstance(tree, list):
        if len(tree) in (3, 4) and isinstance(tree[0], str):
            return [tree[0]]
        return [name for value in tree for name in _histories(value)]
    return []


def _named_weights(group: h5py.Group) -> dict[str, h5py.Dataset]:
    names = _names(group, "weight_names")
    return {name.removesuffix(":0").split("/")[-1]: _dataset(group, name) for name in names}


def _numbered_weights(file: h5py.File, configs: list[_Config]) -> tuple[dict[str, dict[str, h5py.Dataset]], list[str]]:
    """Return the weights of Keras 3, which numbers the layers of each kind, by layer; and the layers in order."""
    container = next((file[name] for name in _CONTAINERS if name in file), None)
    if container is None:
        raise ValueError("it holds no weights of layers")
    found: dict[str, dict[str, h5py.Dataset]] = {}
    for kind, (word, weights) in _NAMES.items():
        names = [config for config in configs if config.class_name == kind]
        for n in range(len(container)):
            key = f"{word}_{n}" if n else word
            if key not in container:
                break
            variables = container[key]["vars"]
            config = names[n].config if configs else {}
            made = [weight for weight in weights if config.get(_SWITCHES.get(weight, ""), True)]
            if len(made) != len(variables):
                raise ValueError(f"{key} has {len(variables)} weights instead of {len(made)}")
            found[names[n].name if configs else key] = {w: _dataset(variables, str(i)) for i, w in enumerate(made)}
    if not found:
        raise ValueError("it holds no convolutions")
    return found, list(found)


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Return a list of names; long ones are cut into numbered parts."""
    if attribute in group.attrs:
        return [_text(name) for name in group.attrs[attribute]]
    parts: list[Any] = []
    while f"{attribute}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{attribute}{len(parts)}"])
    return [_text(name) for part in parts for name in part]


def _dataset(group: h5py.Group, path: str) -> h5py.Dataset:
    """Return an array of this very file: HDF5 can also link to other files, of which we want nothing."""
    item = group
    for part in path.split("/"):
        if not isinstance(item.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{path!r} lies elsewhere")
        item = item[part]
    if not isinstance(item, h5py.Dataset) or item.is_virtual or item.external:
        raise ValueError(f"{path!r} is no array of this file")
    if item.nbytes > _MOST_COMPRESSED * item.file.id.get_filesize():
        raise ValueError(f"{path!r} is larger than its file")
    return item


def _kind(name: str, weights: dict[str, h5py.Dataset]) -> str:
    """Guess the kind of a layer of which only the name and the weights are known."""
    if "moving_mean" in weights:
        return "BatchNormalization"
    if "kernel" in weights:
        return "Conv2DTranspose" if name.startswith("conv2d_transpose") else "Conv2D"
    return "Dropout" if name.startswith("dropout") else ""


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
