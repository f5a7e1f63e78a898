"""What a model file says of itself. Imports no torch: the viewer reads it to show a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from napari_segnet.axes import per_axis
from napari_segnet.config import Frozen, LabelClass, NormName, PatchSize, RunConfig, Task, Unlabelled, validated
from napari_segnet.data.normalization import Normalization
from napari_segnet.errors import ConfigError, ModelFileError

METADATA_KEY = "napari_segnet"
Stride = Annotated[int, Field(ge=1, le=1024)]
Distance = Annotated[int, Field(ge=0, le=65536)]
_HEADER_LIMIT = 50_000_000


class ModelInfo(Frozen):
    """Everything besides the weights that is needed to use a model.

    `outputs` is the number of channels of the network: the classes in order for a semantic model; background,
    interior and boundary for a model of instances. Lengths in pixels hold for all axes, or are given for Z, Y and X.
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

    @property
    def strides(self) -> tuple[int, ...]:
        """What the lengths of an image have to be multiples of, along each axis."""
        return per_axis(self.stride, len(self.axes))


def read_header(path: Path | str) -> dict[str, Any]:
    """Read the JSON header of a safetensors file; of the rest not a byte.

    Raises
    ------
    ModelFileError
        If the file is missing, cut short, or no safetensors file.
    """
    path = Path(path)
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


def model_path(path: Path | str) -> Path:
    """Return the model file of `path`: itself, or the best (else the last) model of a run folder."""
    path = Path(path)
    if not path.is_dir():
        return path
    for name in ("model.safetensors", "last.safetensors"):
        if (path / name).is_file():
            return path / name
    raise ModelFileError(f"{path} holds no model.safetensors.", "Name a model file or a run folder.")
