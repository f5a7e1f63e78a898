"""What a model file says of itself. Imports no torch: the viewer reads it to show a model."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from napari_segnet.axes import per_axis
from napari_segnet.config import Frozen, LabelClass, NormName, PatchSize, RunConfig, Task, Unlabelled, validated
from napari_segnet.data.normalization import Normalization
from napari_segnet.errors import ConfigError, ModelFileError

METADATA_KEY = "napari_segnet"
ENSEMBLE = "ensemble"
"""What stands for the network in the description of several models together."""
Combine = Literal["mean", "vote"]
Stride = Annotated[int, Field(ge=1, le=1024)]
Distance = Annotated[int, Field(ge=0, le=65536)]
_HEADER_LIMIT = 50_000_000
_MODELS = ("model.safetensors", "last.safetensors")


class ModelInfo(Frozen):
    """Everything besides the weights that is needed to use a model.

    `outputs` is the number of channels of the network: the classes in order for a semantic model; background,
    interior and boundary for a model of instances. Lengths in pixels hold for all axes, or are given for Z, Y and X.
    An ensemble has `members`; its own `stride` and `halo` fit all of them.
    """

    format: Literal[1] = 1
    network: str
    encoder: str | None = None
    options: dict[str, int | float | bool | str] = Field(default_factory=dict)
    norm: NormName | None = None
    channels: int = Field(ge=1, le=4096)
    outputs: int = Field(ge=2, le=1024)
    axes: Literal["YX", "ZYX"] = "YX"
    pixel_size: tuple[float, ...] | None = None
    units: str | None = None
    resampled: bool = Field(
        False, description="Whether images are brought to `pixel_size` before the network sees them."
    )
    zoom: float = Field(1.0, gt=0, le=4, description="Size at which images are seen: 0.5 has half the pixels a side.")
    normalization: Normalization = Normalization()
    task: Task = "semantic"
    unlabelled: Unlabelled = "background"
    classes: tuple[LabelClass, ...] = Field(min_length=1, max_length=250)
    patch_size: PatchSize
    stride: Stride | tuple[Stride, Stride, Stride]
    halo: Distance | tuple[Distance, Distance, Distance] = Field(description="Measured: see predict/halo.py.")
    receptive_field: Distance | tuple[Distance, Distance, Distance] | None = Field(
        None, description="Theoretical halo; None: the whole image."
    )
    config: RunConfig = RunConfig()
    fingerprint: dict[str, Any] = Field(default_factory=dict)
    scores: dict[str, float] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    members: tuple[ModelInfo, ...] = Field((), max_length=100, description="Models that answer together.")
    combine: Combine = Field("mean", description="Mean of probabilities, or majority of labels.")

    @model_validator(mode="after")
    def _members_agree(self) -> Self:
        if bool(self.members) != (self.network == ENSEMBLE):
            raise ValueError(f"the network {self.network!r} and {len(self.members)} members don't go together")
        if any(member.members for member in self.members):
            raise ValueError("a member of an ensemble is an ensemble itself")
        problem = disagreement((self, *self.members))
        if problem:
            raise ValueError(problem)
        return self

    @property
    def strides(self) -> tuple[int, ...]:
        """What the lengths of an image have to be multiples of, along each axis."""
        return per_axis(self.stride, len(self.axes))


def disagreement(infos: Sequence[ModelInfo]) -> str:
    """Say in a sentence why models can't answer together; empty if they can."""
    first = _what_answers(infos[0])
    for number, info in enumerate(infos[1:], start=2):
        for name, value in _what_answers(info).items():
            if value != first[name]:
                return f"The models have different {name}: {first[name]} in the first, {value} in number {number}."
    return ""


def _what_answers(info: ModelInfo) -> dict[str, str]:
    return {
        "channels": str(info.channels),
        "axes": info.axes,
        "tasks": info.task,
        "classes": ", ".join(f"{c.value} {c.name}" for c in info.classes),
        "numbers of outputs": str(info.outputs),
        "pixel sizes": f"{info.pixel_size} {info.units}" if info.resampled else "any",
        "zooms": f"{info.zoom:g}",
    }


def same_classes(old: Sequence[LabelClass], new: Sequence[LabelClass]) -> dict[int, int]:
    """Return which of a model's classes each new one is: of the same name, else of the same value.

    Parameters
    ----------
    old, new : sequence of LabelClass

    Returns
    -------
    dict of int to int
        Place in `new` -> place in `old`. Classes that are new to the model are left out.
    """
    names = {c.name: place for place, c in enumerate(old)}
    rows = {place: names[c.name] for place, c in enumerate(new) if c.name in names}
    values = {c.value: place for place, c in enumerate(old) if place not in rows.values()}
    return rows | {place: values[c.value] for place, c in enumerate(new) if place not in rows and c.value in values}


def ensemble_info(infos: Sequence[ModelInfo], combine: Combine = "mean") -> ModelInfo:
    """Describe models that answer together; ensembles among them count as their members.

    What belongs to a single model, such as its normalization and scores, each member keeps for itself; classes,
    normalization, pixel size and units of the whole are those of the first. Stride, halo and receptive field are the
    least that fit all.

    Raises
    ------
    ConfigError
        If there are none, or they differ in channels, axes, task or classes.
    """
    members = [member for info in infos for member in (info.members or (info,))]
    if not members:
        raise ConfigError("There are no models to put together.", "Name at least one.")
    problem = disagreement(members)
    if problem:
        raise ConfigError(problem, "Only models that were trained for the same job can answer together.")
    first = members[0]
    ndim = len(first.axes)
    reaches = [None if m.receptive_field is None else per_axis(m.receptive_field, ndim) for m in members]
    known = [reach for reach in reaches if reach is not None]
    fields = dict[str, Any](
        network=ENSEMBLE,
        channels=first.channels,
        outputs=first.outputs,
        axes=first.axes,
        pixel_size=first.pixel_size,
        units=first.units,
        resampled=first.resampled,
        zoom=first.zoom,
        normalization=first.normalization,
        task=first.task,
        unlabelled=first.unlabelled,
        classes=first.classes,
        patch_size=first.patch_size,
        stride=_short([math.lcm(*along) for along in zip(*(m.strides for m in members), strict=True)]),
        halo=_short([max(along) for along in zip(*(per_axis(m.halo, ndim) for m in members), strict=True)]),
        receptive_field=_short([max(a) for a in zip(*known, strict=True)]) if len(known) == len(reaches) else None,
        versions=first.versions,
        members=tuple(members),
        combine=combine,
    )
    return validated(ModelInfo, fields)


def _short(lengths: Sequence[int]) -> Any:
    """Return one number for a plane: its axes get the largest; of a volume all three."""
    return tuple(lengths) if len(lengths) == 3 else max(lengths)


def read_header(path: Path | str) -> dict[str, Any]:
    """Read the JSON header of a safetensors file; of the rest not a byte.

    Raises
    ------
    ModelFileError
        If the file is missing, cut short, or no safetensors file.
    """
    path = Path(path)
    if path.suffix == ".pt2":
        raise ModelFileError(
            f"{path} is a program of torch.export: it is for other programs.",
            "Use the model that it was made of, or export it as ONNX or TorchScript.",
        )
    damaged = ModelFileError(f"{path} is not a model file, or is damaged.", "Name a .safetensors file or a run folder.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _HEADER_LIMIT):
                raise damaged
            header = json.loads(file.read(length))
    except FileNotFoundError:
        raise ModelFileError(f"There is no model file {path}.", "Check the name.") from None
    except OSError as error:
        raise ModelFileError(f"{path} can't be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError):
        raise damaged from None
    if not isinstance(header, dict):
        raise damaged
    return header


def read_info(path: Path | str) -> ModelInfo:
    """Read what a model file (or the best model of a run folder) says of itself, without loading its weights.

    Raises
    ------
    ModelFileError
        If it is damaged, or was not written by napari-segnet.
    """
    folds = fold_models(path)
    if folds:
        return ensemble_info([read_info(fold) for fold in folds])
    # Packages are described with a `ModelInfo`, too.
    from napari_segnet.models.packages import is_package, read_package_info

    if is_package(path):
        return read_package_info(path)
    path = model_path(path)
    metadata = read_header(path).get("__metadata__")
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise ModelFileError(
            f"{path} holds weights, but nothing that says how to use them.",
            "It was not written by napari-segnet; a model of another tool has to be imported.",
        )
    try:
        return validated(ModelInfo, json.loads(text))
    except (ValueError, RecursionError, ConfigError) as error:
        raise ModelFileError(f"{path} describes a model that can't be used: {error}") from None


def fold_folders(path: Path | str) -> list[Path]:
    """Return the run folders fold-1, fold-2 ... in a folder, in order."""
    path = Path(path)
    if not path.is_dir():
        return []
    found = {int(p.name[5:]): p for p in path.iterdir() if re.fullmatch(r"fold-[1-9]\d{0,3}", p.name) and p.is_dir()}
    return [found[number] for number in sorted(found)]


def fold_models(path: Path | str) -> list[Path]:
    """Return the best models of the folds in a folder that holds no model of its own, such as one still being made.

    Raises
    ------
    ModelFileError
        If none of the folds has a model yet.
    """
    folds = fold_folders(path)
    if not folds or any((Path(path) / name).is_file() for name in _MODELS):
        return []
    found = [fold / "model.safetensors" for fold in folds if (fold / "model.safetensors").is_file()]
    if not found:
        raise ModelFileError(f"None of the folds in {path} has a model yet.", "Wait, or resume it.")
    return found


def model_path(path: Path | str) -> Path:
    """Return the model file of `path`: itself, or the best (else the last) model of a run folder."""
    from napari_segnet.models.packages import is_package

    path = Path(path)
    if not path.is_dir() or is_package(path):
        return path
    for name in _MODELS:
        if (path / name).is_file():
            return path / name
    raise ModelFileError(f"{path} holds no model.safetensors.", "Name a model file or a run folder.")
