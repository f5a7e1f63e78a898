"""Descriptions of bioimage.io's models, of formats 0.4 and 0.5, in our terms.

https://bioimage-io.github.io/spec-bioimage-io describes both formats.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import counted
from napari_segnet.config import validated
from napari_segnet.data.labels import PALETTE
from napari_segnet.errors import ModelFileError
from napari_segnet.models.info import ModelInfo
from napari_segnet.models.packages.archive import Archive
from napari_segnet.models.packages.processing import Cast, Processing, Sigmoid, Softmax, Threshold, read_processing
from napari_segnet.models.packages.recipe import RUNTIMES, Attached, Foreign, Recipe, Runtime, Sides

OWN = "napari_segnet"
"""Key of a description's ``config`` under which a package of ours names its model file."""
_BORDER = {"YX": 64, "ZYX": 16}
"""Border of a tile where a description names none, pixels: tiles without one would show their seams."""
_INSTANCES = (r"back", r"fore|insid|interior", r"bound|border|contour|outline")
"""What the three outputs of a model of instances are called."""
_SUM = 1e-3
"""How far probabilities of classes may add up to something else than 1."""


@dataclass(frozen=True)
class _Tensor:
    """An input or output: axes as letters, and what the package says of each."""

    name: str
    axes: str
    sides: Mapping[str, Any]
    halo: Mapping[str, int]
    scale: Mapping[str, float]
    channels: tuple[str, ...] | int | None
    dtype: str
    processing: Processing
    test: str | None


def read_description(
    archive: Archive, inside: str, tree: Mapping[str, Any], runtimes: Sequence[Runtime] = RUNTIMES
) -> Foreign | Attached:
    """Read a description.

    Parameters
    ----------
    archive : Archive
        The package.
    inside : str
        Folder in it that names of files start from, ``""`` or with a slash at its end.
    tree : mapping
        What the YAML says.
    runtimes : sequence of str
        What can run networks here, the best first.

    Returns
    -------
    Foreign or Attached
        Attached where the package was made by us, and holds the model file.

    Raises
    ------
    ModelFileError
        If it asks for something that can't be done here.
    KeyError, TypeError, ValueError, AttributeError, IndexError
        If it isn't what the formats say.
    """
    version = str(tree["format_version"])
    if tree.get("type") != "model":
        raise ModelFileError(f"{archive.path} describes a {tree.get('type')!s:.40}, not a model.")
    own = (tree.get("config") or {}).get(OWN)
    if isinstance(own, dict) and own.get("model"):
        source, digest = _file(own["model"]), own.get("sha256")
        return Attached(archive, inside + source, None if digest is None else str(digest))
    if not version.startswith(("0.4.", "0.5.")):
        raise ModelFileError(
            f"{archive.path} is of format {version:.20}, but 0.4 and 0.5 are known.",
            "Convert it with bioimageio's tools, or update napari-segnet.",
        )
    for kind in ("inputs", "outputs"):
        if len(tree[kind]) != 1:
            raise ModelFileError(
                f"The model in {archive.path} has {counted(len(tree[kind]), kind[:-1])}, but one is needed.",
                "Predict with bioimageio.core.",
            )
    read = _tensor_04 if version.startswith("0.4.") else _tensor_05
    image, answer = read(tree, "inputs"), read(tree, "outputs")
    return _Translation(archive, inside, tree, image, answer, runtimes).foreign()


class _Translation:
    """One description on its way into our terms."""

    def __init__(
        self,
        archive: Archive,
        inside: str,
        tree: Mapping[str, Any],
        image: _Tensor,
        answer: _Tensor,
        runtimes: Sequence[Runtime],
    ) -> None:
        self._archive, self._inside, self._tree = archive, inside, tree
        self._image, self._answer, self._runtimes = image, answer, runtimes
        self._spatial = "zyx" if "z" in image.axes else "yx"

    def foreign(self) -> Foreign:
        image, answer = self._image, self._answer
        self._check_axes()
        runtime, source, sha256 = self._weights()
        if answer.processing.normalization.mode != "none":
            raise ModelFileError(
                f"The model in {self._archive.path} scales its answers by their range, which napari-segnet can't do.",
                "Predict with bioimageio.core.",
            )
        sides = tuple(_sides(image.sides[letter]) for letter in self._spatial)
        names, overlapping = self._meaning()
        halo = self._halo(sides)
        recipe = Recipe(
            runtime=runtime,
            source=source,
            sha256=sha256,
            input_axes=image.axes,
            output_axes=answer.axes,
            sides=sides,
            single="b" not in image.axes or image.sides.get("b") == 1,
            dtype=image.dtype,
            before=image.processing.steps,
            after=answer.processing.steps,
            margin=tuple(min(border, (side.least - 1) // 2) for border, side in zip(halo, sides, strict=True)),
            overlapping=overlapping,
        )
        return Foreign(self._archive, self._info(runtime, names, sides, halo), recipe)

    def _check_axes(self) -> None:
        image, answer, path = self._image, self._answer, self._archive.path
        for tensor in (image, answer):
            if not {"y", "x"} <= set(tensor.axes) <= set("bczyx") or len(set(tensor.axes)) != len(tensor.axes):
                raise ModelFileError(
                    f"The model in {path} has the axes {tensor.axes[:20]!r}, which napari-segnet can't handle.",
                    "Predict with bioimageio.core.",
                )
        if set(image.axes) - {"c"} != set(answer.axes) - {"c"}:
            raise ModelFileError(f"The model in {path} answers along other axes than those of the image.")
        if any(answer.scale[letter] != 1 for letter in self._spatial):
            raise ModelFileError(
                f"The answer of the model in {path} has another size than the image.", "Predict with bioimageio.core."
            )

    def _weights(self) -> tuple[Runtime, str, str | None]:
        weights = self._tree["weights"]
        known = [runtime for runtime in RUNTIMES if isinstance(weights.get(runtime), dict)]
        if not known:
            raise ModelFileError(
                f"The weights in {self._archive.path} are {', '.join(sorted(map(str, weights)))[:120]}, which can't be "
                "run here: pytorch_state_dict, for one, needs Python code of the package, which is never executed.",
                "Get the model with onnx or torchscript weights, or convert it with bioimageio.core's add-weights.",
            )
        runtime = next((runtime for runtime in self._runtimes if runtime in known), None)
        if runtime is None:
            raise ModelFileError(
                f"The weights in {self._archive.path} are {' and '.join(known)}, but onnxruntime is not installed.",
                'pip install "napari-segnet[export]"',
            )
        entry = weights[runtime]
        if entry.get("external_data"):
            raise ModelFileError(f"The weights in {self._archive.path} are in several files, which isn't supported.")
        digest = entry.get("sha256")
        return runtime, self._inside + _file(entry["source"]), None if digest is None else str(digest)

    def _test_answer(self) -> NDArray[Any] | None:
        """Return the answer that the package says is right, with the channels first."""
        if self._answer.test is None:
            return None
        values = self._archive.read_array(self._inside + self._answer.test)
        if values.ndim != len(self._answer.axes) or 0 in values.shape or values.dtype.kind not in "buif":
            raise ValueError("a test answer of other axes")
        if "c" not in self._answer.axes:
            return values[np.newaxis]
        return np.moveaxis(values, self._answer.axes.index("c"), 0)

    def _meaning(self) -> tuple[tuple[str, ...], bool]:
        """Return the names of the classes, and whether each channel is a probability by itself."""
        values, said = self._test_answer(), self._answer.channels
        count = len(values) if values is not None else said if isinstance(said, int) else len(said or "1")
        names = tuple(said) if isinstance(said, tuple) and len(said) == count else ()
        last = self._answer.processing.steps[-1] if self._answer.processing.steps else None
        overlapping = count == 1 or not (isinstance(last, Softmax) or (values is not None and _sums_to_one(values)))
        bounded = isinstance(last, Sigmoid | Softmax) or (values is not None and _in_unit(values))
        if not bounded or (isinstance(last, Softmax) and count == 1):
            seen = "" if values is None else f": it goes from {values.min():.3g} to {values.max():.3g}"
            raise ModelFileError(
                f"The answer of the model in {self._archive.path} is no probability of classes{seen}.",
                "Only models that segment can be used here; predict with bioimageio.core.",
            )
        first = 1 if overlapping else 0
        usual = [f"class {number + first}" if number + first else "background" for number in range(count)]
        named = [
            (own if own and not re.fullmatch(r"(channel|class)?[ _-]?\d*", own) else other)[:80]
            for own, other in zip(names or usual, usual, strict=True)
        ]
        return (("background", *named) if overlapping else tuple(named)), overlapping

    def _halo(self, sides: Sequence[Sides]) -> tuple[int, ...]:
        """Return what is cut off tiles, [Z], Y, X pixels."""
        said = [int(self._answer.halo.get(letter, 0)) for letter in self._spatial]
        usual = _BORDER[self._spatial.upper()]
        # A window of fixed size loses a quarter at each side where nothing is said.
        return tuple(
            border or (usual if side.step else side.least // 8) for border, side in zip(said, sides, strict=True)
        )

    def _info(self, runtime: Runtime, names: Sequence[str], sides: Sequence[Sides], halo: Sequence[int]) -> ModelInfo:
        # Windows of fixed size are cut within a tile, whose sides may be any.
        strides = tuple(max(1, side.step) for side in sides)
        if len(strides) == 2:
            strides, halo = (math.lcm(*strides),) * 2, (max(halo),) * 2
        reach = tuple(-(-border // stride) * stride for border, stride in zip(halo, strides, strict=True))
        instances = _tell_objects_apart(names)
        shown = ("background", "object") if instances else names
        classes = [
            {"value": value, "name": name, "colour": PALETTE[value % len(PALETTE)]} for value, name in enumerate(shown)
        ]
        made = validated(
            ModelInfo,
            {
                "network": runtime,
                "channels": self._channels(),
                "outputs": len(names),
                "axes": self._spatial.upper(),
                "task": "instances" if instances else "semantic",
                "classes": classes,
                "patch_size": min(4096, max(16, *(side.least for side in sides))),
                "stride": strides if len(strides) == 3 else strides[0],
                "halo": reach if len(reach) == 3 else reach[0],
                "fingerprint": {"package": self._archive.path.name, "name": str(self._tree.get("name"))[:200]},
                "versions": {"bioimage.io format": str(self._tree["format_version"])},
            },
        )
        # A normalization of its own: it has to stay what it is, and isn't read from JSON.
        return made.model_copy(update={"normalization": self._image.processing.normalization})

    def _channels(self) -> int:
        said = self._image.channels
        return 1 if said is None else said if isinstance(said, int) else len(said)


def _tell_objects_apart(names: Sequence[str]) -> bool:
    """Say whether outputs are background, inside and boundary, as those of our models of instances are."""
    return len(names) == 3 and all(re.search(kind, name.lower()) for kind, name in zip(_INSTANCES, names, strict=True))


def _sums_to_one(values: NDArray[Any]) -> bool:
    return _in_unit(values) and bool(np.abs(values.sum(axis=0, dtype=np.float64) - 1).max() <= _SUM)


def _in_unit(values: NDArray[Any]) -> bool:
    return bool(np.isfinite(values).all() and values.min() >= -_SUM and values.max() <= 1 + _SUM)


def _sides(said: Any) -> Sides:
    if isinstance(said, Mapping):
        least, step = int(said["min"]), int(said["step"])
    else:
        least, step = int(said), 0
    if not (0 < least <= 65536 and 0 <= step <= 1024):
        raise ValueError("sides that no image has")
    return Sides(least, step)


def _file(source: Any) -> str:
    """Return the name of a file, which is written as such or, in 0.5, as a dictionary."""
    name = source["source"] if isinstance(source, Mapping) else source
    if not isinstance(name, str) or not name:
        raise TypeError("no name of a file")
    return name


def _tensor_05(tree: Mapping[str, Any], kind: str) -> _Tensor:
    """Read the input, or the output, of format 0.5, where each axis describes itself."""
    said = tree[kind][0]
    name = str(said.get("id", kind[:-1]))
    letters, names, sides, halo, scale = "", {}, dict[str, Any](), dict[str, int](), dict[str, float]()
    channels: tuple[str, ...] | None = None
    for axis in said["axes"]:
        own = str(axis.get("id", axis["type"]))
        letter = {"batch": "b", "channel": "c", "space": own.lower()}.get(axis["type"], "?")
        letter = letter if letter in tuple("bczyx") else "?"
        letters += letter
        names[own] = letter
        sides[letter] = axis.get("size")
        if letter == "c":
            channels = tuple(str(one) for one in axis["channel_names"])
        halo[letter] = int(axis.get("halo") or 0)
        scale[letter] = float(axis.get("scale", 1.0))
    if kind == "outputs":
        scale = _relative_scale(tree["inputs"][0], said, letters)
    elif any(isinstance(size, Mapping) and "tensor_id" in size for size in sides.values()):
        raise ModelFileError("The sides of the image depend on each other, which napari-segnet can't handle.")
    steps = said.get("preprocessing" if kind == "inputs" else "postprocessing")
    where = "The preprocessing of the model" if kind == "inputs" else "The postprocessing of the model"
    data = said.get("data") or {}
    dtype = (data[0] if isinstance(data, list) else data).get("type", "float32")
    test = said.get("test_tensor")
    processing, dtype = _last_cast(read_processing(steps, names, name, where), str(dtype))
    return _Tensor(
        name, letters, sides, halo, scale, channels, dtype, processing, None if test is None else _file(test)
    )


def _relative_scale(image: Mapping[str, Any], answer: Mapping[str, Any], letters: str) -> dict[str, float]:
    """Return 1 for each axis of the answer that has the image's size, 0 for others."""
    inputs = {str(axis.get("id", axis["type"])): axis for axis in image["axes"]}
    found = {}
    for letter, axis in zip(letters, answer["axes"], strict=True):
        size, own = axis.get("size"), inputs.get(str(axis.get("id", axis["type"])), {})
        same = float(axis.get("scale", 1.0)) == float(own.get("scale", 1.0))
        if isinstance(size, Mapping):
            same = same and size.get("axis_id") == axis.get("id") and not size.get("offset")
        else:
            same = same and size == own.get("size")
        found[letter] = 1.0 if same else 0.0
    return found


def _tensor_04(tree: Mapping[str, Any], kind: str) -> _Tensor:
    """Read the input, or the output, of format 0.4, where lists go along the axes."""
    said = tree[kind][0]
    axes = str(said["axes"])
    names = {letter: letter for letter in axes}
    shape = said["shape"]
    halo = dict(zip(axes, [int(n) for n in said.get("halo") or [0] * len(axes)], strict=True))
    channels: int | None = None
    scale = dict.fromkeys(axes, 1.0)
    sides: dict[str, Any] = {}
    if kind == "inputs":
        if isinstance(shape, Mapping):
            pairs = zip(shape["min"], shape["step"], strict=True)
            sides = {letter: _from_pair(*pair) for letter, pair in zip(axes, pairs, strict=True)}
        else:
            sides = dict(zip(axes, shape, strict=True))
        channels = int(sides["c"]) if "c" in axes else None
    elif isinstance(shape, Mapping):
        given = zip(axes, shape["scale"], shape["offset"], strict=True)
        scale = {letter: 1.0 if one == 1 and not offset else 0.0 for letter, one, offset in given}
    else:
        image = tree["inputs"][0]
        own = image["shape"] if isinstance(image["shape"], list) else image["shape"]["min"]
        fixed = dict(zip(str(image["axes"]), own, strict=True))
        scale = {letter: 1.0 if fixed.get(letter) == n else 0.0 for letter, n in zip(axes, shape, strict=True)}
    tests = tree.get("test_inputs" if kind == "inputs" else "test_outputs") or [None]
    steps = said.get("preprocessing" if kind == "inputs" else "postprocessing")
    where = "The preprocessing of the model" if kind == "inputs" else "The postprocessing of the model"
    dtype = str(said.get("data_type", "float32"))
    processing, dtype = _last_cast(read_processing(steps, names, str(said["name"]), where), dtype)
    test = None if tests[0] is None else _file(tests[0])
    return _Tensor(str(said["name"]), axes, sides, halo, scale, channels, dtype, processing, test)


def _last_cast(processing: Processing, dtype: str) -> tuple[Processing, str]:
    """Take the last step away where it says the type of numbers, which counts more than that of the tensor."""
    *steps, last = processing.steps or (None,)
    if isinstance(last, Cast):
        return Processing(processing.normalization, tuple(steps)), last.dtype
    if isinstance(last, Threshold):
        return processing, "bool"
    return processing, np.dtype(dtype).name


def _from_pair(least: Any, step: Any) -> Any:
    return {"min": least, "step": step} if step else least
