"""How layers are connected, in Keras' file and in our network, in the same few words; and whether it is the same.

Both become a graph of steps: convolutions, normalizations, ReLU, pooling, joins, and two ways of upsampling.
Dropout, which changes nothing in use, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from napari_segnet.errors import ModelFileError
from napari_segnet.importers.keras_file import KerasFile, Layer
from napari_segnet.models.keras_parts import UpConvolution

Kind = str
_RELU = ":relu"


@dataclass(frozen=True)
class Step:
    """One operation; `inputs` are names of steps."""

    kind: Kind
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """Steps by name. A step that has weights is called as its layer, or as our module, is called."""

    steps: dict[str, Step]
    output: str

    def of_kind(self, kind: Kind) -> list[str]:
        """Return the names of all steps of a kind, in order."""
        return [name for name, step in self.steps.items() if step.kind == kind]


class UnknownLayerError(Exception):
    """A layer that none of our networks has; the text says which."""


def graph_of_file(file: KerasFile) -> Graph:
    """Return the graph of a whole model; raises `UnknownLayerError` for layers that our networks don't have."""
    steps: dict[str, Step] = {}
    result: dict[str, str] = {}
    for layer in file.layers:
        kind = _kind_of(layer)
        inputs = tuple([result[name] for name in layer.inputs])
        if kind is None:
            result[layer.name] = inputs[0]
            continue
        steps[layer.name] = Step(kind, inputs)
        result[layer.name] = layer.name
        if kind in ("convolution", "transpose") and layer.config.get("activation") == "relu":
            result[layer.name] = layer.name + _RELU
            steps[layer.name + _RELU] = Step("relu", (layer.name,))
    assert file.output is not None
    return Graph(steps, result[file.output])


_EXPECTED: dict[str, tuple[Kind, dict[str, tuple[Any, ...]]]] = {
    "InputLayer": ("input", {}),
    "Conv2D": (
        "convolution",
        {"strides": ([1, 1],), "padding": ("same",), "dilation_rate": ([1, 1],), "groups": (1,)},
    ),
    "Conv2DTranspose": (
        "transpose",
        {"strides": ([2, 2],), "padding": ("same",), "dilation_rate": ([1, 1],), "output_padding": (None,)},
    ),
    "BatchNormalization": ("normalization", {"axis": (-1, 3, [3], [-1]), "renorm": (False,)}),
    "ReLU": ("relu", {"max_value": (None,), "negative_slope": (0,), "threshold": (0,)}),
    "Activation": ("relu", {"activation": ("relu",)}),
    "MaxPooling2D": ("pool", {"pool_size": ([2, 2],), "strides": ([2, 2],)}),
    "UpSampling2D": ("copy", {"size": ([2, 2],), "interpolation": ("nearest",)}),
    "Concatenate": ("join", {"axis": (-1, 3)}),
}
"""Our word for a layer of Keras, and the settings that it has in the networks that we know."""


def _kind_of(layer: Layer) -> Kind | None:
    """Return our word for a layer, None for one that changes nothing."""
    if layer.kind == "Dropout":
        return None
    if layer.kind not in _EXPECTED:
        raise UnknownLayerError(f"the layer {layer.name!r} is a {layer.kind}")
    kind, settings = _EXPECTED[layer.kind]
    if list(layer.config.get("kernel_size", ())) == [1, 1]:
        settings = {name: allowed for name, allowed in settings.items() if name != "padding"}
    for name, allowed in {"data_format": ("channels_last",), **settings}.items():
        value = layer.config.get(name, allowed[0])
        if (list(value) if isinstance(value, tuple) else value) not in allowed:
            raise UnknownLayerError(f"the layer {layer.name!r} has {name} = {value!r}")
    return kind


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, UpConvolution) or super().is_leaf_module(m, module_qualified_name)


_MODULES: dict[type[nn.Module], Kind | None] = {
    nn.Conv2d: "convolution",
    UpConvolution: "transpose",
    nn.BatchNorm2d: "normalization",
    nn.ReLU: "relu",
    nn.UpsamplingNearest2d: "copy",
    nn.Dropout: None,
    nn.Identity: None,
}
_FUNCTIONS: dict[Any, Kind] = {F.relu: "relu", F.max_pool2d: "pool", torch.cat: "join"}


def graph_of_network(network: nn.Module) -> Graph:
    """Return the graph of one of our networks."""
    modules = dict(network.named_modules())
    steps: dict[str, Step] = {}
    result: dict[fx.Node, str] = {}
    for node in _Tracer().trace(network).nodes:
        before = tuple([result[other] for other in node.all_input_nodes])
        if node.op == "output":
            return Graph(steps, before[0])
        name, kind = node.name, "input" if node.op == "placeholder" else _FUNCTIONS.get(node.target)
        if node.op == "call_module":
            name, kind = str(node.target), _MODULES[type(modules[str(node.target)])]
        result[node] = name if kind else before[0]
        if kind:
            steps[name] = Step(kind, before)
    raise AssertionError("a traced network has an output")


@dataclass(frozen=True)
class Match:
    """Which layer of a file is which of our modules, and the joins whose two inputs are the other way round."""

    layers: dict[str, str]
    swapped: frozenset[str]


def match_graphs(ours: Graph, theirs: Graph) -> Match:
    """Compare two graphs from their outputs backwards.

    Raises
    ------
    ModelFileError
        If they differ; the text says where.
    """
    found: dict[str, str] = {}
    swapped = set()
    open_pairs = [(ours.output, theirs.output)]
    while open_pairs:
        mine, other = open_pairs.pop()
        if mine in found:
            if found[mine] != other:
                raise _differs(other, f"is used where {found[mine]!r} is expected")
            continue
        found[mine] = other
        a, b = ours.steps[mine], theirs.steps[other]
        if a.kind != b.kind:
            raise _differs(other, f"is of the kind {b.kind} where {a.kind} is expected")
        if len(a.inputs) != len(b.inputs):
            raise _differs(other, f"has {len(b.inputs)} inputs instead of {len(a.inputs)}")
        inputs = b.inputs
        if len(inputs) == 2 and ours.steps[a.inputs[0]].kind != theirs.steps[inputs[0]].kind:
            inputs = inputs[::-1]
            swapped.add(mine)
        open_pairs.extend(zip(a.inputs, inputs, strict=True))
    left = theirs.steps.keys() - set(found.values())
    if left:
        raise _differs(min(left), "is not part of it")
    return Match(found, frozenset(swapped))


def _differs(layer: str, how: str) -> ModelFileError:
    return ModelFileError(f"The file is not of a network that we know: {layer.removesuffix(_RELU)!r} {how}.")


def match_by_order(ours: Graph, layers: Sequence[Layer]) -> dict[str, str]:
    """Say which layer is which of our modules where only the order of the layers is known.

    Keras lists layers by their distance from the output, and at the same distance as they were found from there.

    Raises
    ------
    ModelFileError
        If there are more or fewer layers of a kind than expected.
    """
    found: dict[str, str] = {}
    order = _order_of_keras(ours)
    for kind in ("convolution", "transpose", "normalization"):
        mine = [name for name in order if ours.steps[name].kind == kind]
        other = [layer.name for layer in layers if layer.kind in _EXPECTED and _EXPECTED[layer.kind][0] == kind]
        if len(mine) != len(other):
            raise ModelFileError(f"The file has {len(other)} layers of the kind {kind} instead of {len(mine)}.")
        found.update(zip(mine, other, strict=True))
    return found


def _order_of_keras(graph: Graph) -> list[str]:
    # A ReLU may be a layer or a part of one: without it the order is the same in the networks that we know.
    inputs = {
        name: [graph.steps[i].inputs[0] if graph.steps[i].kind == "relu" else i for i in step.inputs]
        for name, step in graph.steps.items()
    }
    seen: dict[str, int] = {}
    finished: list[str] = []

    def visit(name: str) -> None:
        if name not in seen:
            seen[name] = len(seen)
            for before in inputs[name]:
                visit(before)
            finished.append(name)

    visit(graph.output)
    depth: dict[str, int] = {}
    for name in reversed(finished):
        own = depth.setdefault(name, 0)
        for before in inputs[name]:
            depth[before] = max(depth.get(before, 0), own + 1)
    return sorted(finished, key=lambda name: (-depth[name], seen[name]))


def channels_of(ours: Graph, network: nn.Module) -> dict[str, int]:
    """Return the channels of what each step gives; the image counts as none."""
    found: dict[str, int] = {}
    for name, step in ours.steps.items():
        if step.kind in ("convolution", "transpose"):
            module = network.get_submodule(name)
            assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
            found[name] = module.out_channels
        else:
            found[name] = sum(found[i] for i in step.inputs)
    return found
