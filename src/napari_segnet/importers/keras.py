"""U-Nets that were trained in Keras: by the R packages imageseg and platypus, and by workshops.

The options of `u_net` and `u_net_plusplus` are counted from the layers; then our network of these options is built,
and has to have the very same layers, connected in the same way. Sources: R/u_net.R and R/u_net_plusplus.R of
imageseg 0.4 and 0.5 (CRAN), R/u_net.R of platypus 0.1 (https://github.com/maju116/platypus).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from napari_segnet.errors import ConfigError, ModelFileError
from napari_segnet.importers import ImportConfig
from napari_segnet.importers.found import Found
from napari_segnet.importers.keras_file import KerasFile, Layer, is_keras, open_keras, read_array
from napari_segnet.importers.tf_checkpoint import index_of, open_checkpoint
from napari_segnet.importers.wiring import (
    Graph,
    Match,
    UnknownLayerError,
    channels_of,
    graph_of_file,
    graph_of_network,
    match_by_order,
    match_graphs,
)
from napari_segnet.models.keras_parts import EPSILON
from napari_segnet.models.registry import build_network

Options = dict[str, int | float | bool | str]
_KNOWN = "These can be: u_net and u_net_plusplus of imageseg, u_net of platypus, and the U-Net of Keras workshops."
_SHARES = (1 / 3, 1 / 3, 2 / 3, 2 / 3, 1, 2 / 3, 2 / 3, 1 / 3, 1 / 3)


def recognizes(path: Path) -> bool:
    """Say whether a file, or a folder, is of Keras or TensorFlow."""
    return is_keras(path) or index_of(path) is not None


def read(path: Path, config: ImportConfig) -> Found:
    """Read a model, or weights alone.

    Raises
    ------
    ModelFileError
        If the file is damaged, or is of another network.
    """
    index = index_of(path)
    with open_keras(path) if index is None else open_checkpoint(index) as file:
        try:
            return _convert(file, config)
        except UnknownLayerError as error:
            raise ModelFileError(f"The file is not of a network that we know: {error}.", _KNOWN) from error
        except ModelFileError as error:
            raise ModelFileError(error.problem, error.remedy or _KNOWN) from error


@dataclass(frozen=True)
class _Counts:
    """What tells the networks apart: sizes of kernels, (Y, X, inputs, outputs)."""

    convolutions: list[tuple[int, ...]]
    transposes: list[tuple[int, ...]]
    normalized: bool

    @classmethod
    def of(cls, file: KerasFile) -> _Counts:
        kernels: dict[str, list[tuple[int, ...]]] = {"Conv2D": [], "Conv2DTranspose": []}
        for layer in file.layers:
            if layer.kind in kernels:
                shape = tuple(layer.weights["kernel"].shape)
                if len(shape) != 4:
                    raise ModelFileError(f"The kernel of {layer.name!r} has {len(shape)} axes instead of 4.")
                kernels[layer.kind].append(shape)
        normalized = any(layer.kind == "BatchNormalization" for layer in file.layers)
        return cls(kernels["Conv2D"], kernels["Conv2DTranspose"], normalized)


def _convert(file: KerasFile, config: ImportConfig) -> Found:
    counts = _Counts.of(file)
    if not counts.convolutions:
        raise ModelFileError("The file holds no convolutions.")
    theirs = None if file.output is None else graph_of_file(file)
    name, options, notes = _guess(file, counts)
    options = {**options, **config.options}
    channels, classes = counts.convolutions[0][2], counts.convolutions[-1][3]
    _check_end(file, classes)
    try:
        with torch.device("meta"):
            network = build_network(name, channels=channels, outputs=max(classes, 2), options=options)
    except ConfigError as error:
        raise ModelFileError(f"The file asks for a network that can't be built. {error}") from error
    ours = graph_of_network(network)
    if theirs is None:
        swapped = _swapped_by_version(ours, options)
        match = Match(match_by_order(ours, file.layers), swapped)
        notes = (*notes, *_unsaid(options, bool(swapped)))
    else:
        match = match_graphs(ours, theirs)
    return Found(
        network=name,
        channels=channels,
        options=options,
        weights=_weights(file, network, ours, match),
        side=_side(file),
        notes=notes,
        versions={"keras": file.version},
    )


def _guess(file: KerasFile, counts: _Counts) -> tuple[str, Options, tuple[str, ...]]:
    """Return the network and the options that so many layers speak of, and notes."""
    inner = [shape for shape in counts.convolutions if shape[:2] == (3, 3)]
    between, rates = _dropouts(file)
    notes = (f"Its dropout ({rates}) is left out, which matters only for learning on.",) if rates else ()
    filters = counts.convolutions[0][3]
    levels = math.log2(max((shape[3] for shape in inner), default=filters) / filters)
    blocks, ups = round(levels), len(counts.transposes)
    nodes = blocks * (blocks + 1) // 2
    common: Options = {"filters": filters, "blocks": blocks}
    if counts.normalized and ups == nodes and len(inner) in (2 * (blocks + 1), 2 * (blocks + 1) + nodes):
        return "imageseg-unetplusplus", {**common, "convolve": len(inner) > 2 * (blocks + 1)}, notes
    layers, rest = divmod(len(inner), 2 * blocks + 1)
    kernel = {shape[0] for shape in counts.transposes} or {0}
    if blocks < 1 or rest or levels != blocks or ups not in (0, blocks) or not kernel <= {0, 2, 3} or len(kernel) > 1:
        raise ModelFileError(
            f"The file is not of a network that we know: {len(inner)} convolutions of 3 x 3 pixels, "
            f"{ups} transposed ones, {filters} filters at first and {2**levels:g} times as many at most."
        )
    up = f"transpose{kernel.pop()}" if ups else "copy"
    if between and (blocks, layers, up, counts.normalized) == (4, 2, "transpose2", False):
        lowest = max(rates)
        if len(rates) == len(_SHARES) and np.allclose(rates, [lowest * share for share in _SHARES]):
            return "workshop-unet", {"width": filters, "dropout": lowest}, ()
    options = {**common, "layers_per_block": layers, "batch_norm": counts.normalized, "up": up, "dropout": 0.0}
    if not between and len(set(rates)) == 1 and len(rates) == 2 * blocks:
        return "imageseg-unet", {**options, "dropout": rates[0]}, ()
    return "imageseg-unet", options, notes


def _dropouts(file: KerasFile) -> tuple[bool, list[float]]:
    """Return whether dropout lies between convolutions, and all rates, in order."""
    kinds = {layer.name: layer.kind for layer in file.layers}
    dropouts = [layer for layer in file.layers if layer.kind == "Dropout" and layer.config]
    behind = {kinds[name] for layer in dropouts for name in layer.inputs}
    return bool(behind - {"MaxPooling2D", "Concatenate"}), [float(layer.config["rate"]) for layer in dropouts]


def _check_end(file: KerasFile, classes: int) -> None:
    """Make sure that the end means what we take it for: a sigmoid for one class, softmax for more."""
    for layer in file.layers:
        activation = layer.config.get("activation", "linear") if layer.kind.startswith("Conv2D") else "linear"
        if layer.name != file.output and activation not in ("linear", "relu"):
            raise UnknownLayerError(f"the layer {layer.name!r} ends with {activation!r}")
        if layer.name == file.output and activation not in (("sigmoid",) if classes == 1 else ("softmax", "linear")):
            raise UnknownLayerError(f"it ends with {activation!r} for {classes} outputs, which are no classes then")


def _swapped_by_version(ours: Graph, options: Options) -> frozenset[str]:
    """Return the joins of imageseg 0.4 with two layers a block, which put the skip connection first."""
    first = options.get("up") == "copy" and options["layers_per_block"] == 2
    return frozenset(ours.of_kind("join") if first else ())


def _unsaid(options: Options, swapped: bool) -> list[str]:
    """Say what weights alone leave open."""
    notes = [
        "The file holds weights alone: they are taken for those of imageseg's or platypus' network of these sizes."
    ]
    if options.get("dropout") == 0:
        notes.append("For learning on, say its dropout with --set options.dropout=0.1; for use it makes no difference.")
    if options.get("up") == "copy":
        order = "first" if swapped else "last"
        notes.append(f"Skip connections are joined {order}, as imageseg 0.4 does with so many layers a block.")
    return notes


def _side(file: KerasFile) -> int | None:
    for layer in file.layers:
        shape = layer.config.get("batch_input_shape", layer.config.get("batch_shape"))
        if layer.kind == "InputLayer" and shape and all(isinstance(side, int) for side in shape[1:3]):
            return max(16, int(min(shape[1:3])))
    return None


def _weights(file: KerasFile, network: nn.Module, ours: Graph, match: Match) -> dict[str, Tensor]:
    """Return the weights by the names of our ``state_dict``, in its order."""
    layers = {layer.name: layer for layer in file.layers}
    widths = channels_of(ours, network)
    found: dict[str, Tensor] = {}
    for name, step in ours.steps.items():
        if step.kind == "normalization":
            tensors = _normalization(layers[match.layers[name]], widths[name])
        elif step.kind in ("convolution", "transpose"):
            tensors = _convolution(layers[match.layers[name]], network.get_submodule(name))
            if step.inputs[0] in match.swapped:
                last = widths[ours.steps[step.inputs[0]].inputs[1]]
                tensors["weight"] = torch.cat([tensors["weight"][:, last:], tensors["weight"][:, :last]], dim=1)
        else:
            continue
        found |= {f"{name}.{key}": value for key, value in tensors.items()}
    return {key: found[key] for key in network.state_dict()}


def _convolution(layer: Layer, module: nn.Module) -> dict[str, Tensor]:
    """Turn a kernel (Y, X, inputs, outputs), or (Y, X, outputs, inputs) of a transposed one, to torch's order."""
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    kernel = layer.weights["kernel"]
    shape = tuple(kernel.shape[axis] for axis in (3, 2, 0, 1))
    expected = tuple(module.weight.shape)
    # The last layer may have one output there, and has two here.
    if shape[1:] != expected[1:] or (shape[0], expected[0]) not in ((expected[0], expected[0]), (1, 2)):
        raise ModelFileError(f"The kernel of {layer.name!r} is {shape} instead of {expected}, in torch's order.")
    width = shape[1] if isinstance(module, nn.ConvTranspose2d) else shape[0]
    weight = torch.from_numpy(read_array(kernel).transpose(3, 2, 0, 1).copy())
    return {"weight": weight, "bias": _vector(layer, "bias", width, 0)}


def _normalization(layer: Layer, width: int) -> dict[str, Tensor]:
    # Another epsilon than ours is the same as another variance.
    shift = float(layer.config.get("epsilon", EPSILON)) - EPSILON
    return {
        "weight": _vector(layer, "gamma", width, 1),
        "bias": _vector(layer, "beta", width, 0),
        "running_mean": _vector(layer, "moving_mean", width, 0),
        "running_var": _vector(layer, "moving_variance", width, 1) + shift,
        "num_batches_tracked": torch.tensor(0),
    }


def _vector(layer: Layer, name: str, width: int, missing: float) -> Tensor:
    """Read one number a channel; a layer that was made without them has those that change nothing."""
    if name not in layer.weights:
        return torch.full((width,), float(missing))
    if layer.weights[name].shape != (width,):
        raise ModelFileError(f"{name} of {layer.name!r} is {layer.weights[name].shape} instead of {(width,)}.")
    return torch.from_numpy(read_array(layer.weights[name]))
