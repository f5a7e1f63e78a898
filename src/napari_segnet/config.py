"""The configuration of a run: frozen, validated, and written down as one JSON text.

An unknown key is an error, so that a typo fails loudly. A changed copy (`replace`) is validated again.
This module imports neither torch nor Qt: the viewer, the shell and the worker share it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_segnet.errors import ConfigError

Task = Literal["semantic", "instances"]
Unlabelled = Literal["ignore", "background"]
PresetName = Literal["fast", "balanced", "best"]
NormName = Literal["batch", "group", "instance"]
Precision = Literal["auto", "float32", "bfloat16"]
_PRECISION = "Numbers to compute with. bfloat16 is quicker where the device has it."
_DEVICE = "Where it computes: auto takes a GPU where there is one."
_DEVICE_NAME = r"^(auto|cpu|mps|cuda(:\d+)?)$"
_Side = Annotated[int, Field(ge=1, le=4096)]
PatchSize = Annotated[int, Field(ge=16, le=4096)] | tuple[_Side, _Side, _Side]
"""Side of a patch, pixels, or its length along Z, Y and X."""
Flip = bool | Literal["left-right", "up-down"]
_Length = Annotated[float, Field(gt=0, le=1e9)]
PixelSize = _Length | tuple[_Length, _Length] | tuple[_Length, _Length, _Length]
"""Size of a pixel along all axes, or along [Z], Y and X."""
Fraction = Annotated[float, Field(ge=0, le=1)]
Scale = Annotated[float, Field(ge=0.25, le=4, multiple_of=0.25)]
Choices = dict[str, int | float | bool | str | tuple[float, ...]]
"""Options of what is chosen by name: each choice has its own, and checks them."""
M = TypeVar("M", bound=BaseModel)


class Frozen(BaseModel):
    """Base of all configuration: immutable, without unknown keys, without NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed; the copy is validated again, and knows what was set."""
        return validated(type(self), {**self.explicit(), **changes})

    def explicit(self) -> dict[str, Any]:
        """Return the fields that were set, without those that have their default."""
        return self.model_dump(exclude_unset=True)


class LabelClass(Frozen):
    """One class: the value it has in label images, and how it is shown and weighed."""

    value: int = Field(ge=0, le=65535, description="The number that stands for this class in label images.")
    name: str = Field(min_length=1, max_length=80)
    colour: str = Field(pattern=r"^#[0-9a-fA-F]{6}$", description="Colour of the class in output layers.")
    weight: float = Field(1.0, gt=0, le=1000, description="Weight of the class in the loss.")


class DataConfig(Frozen):
    """What the labels mean, and how images are read and split."""

    task: Task = Field("semantic", description="Classes, or numbered objects that are to be told apart.")
    unlabelled: Unlabelled = Field("background", description="What 0 means in labels: not annotated, or background.")
    classes: tuple[LabelClass, ...] = Field(
        (), max_length=250, description="Value, name, colour and weight of each class."
    )
    ignore_values: tuple[int, ...] = Field((), description="Label values that take no part in learning.")
    axes: str | None = Field(None, pattern=r"^[TZCYXS]+$", description="Axes of the files, such as ZYX.")
    normalization: Literal["auto", "dataset", "image", "zscore", "zscore-dataset", "none"] = Field(
        "auto", description="How intensities are scaled: by percentiles or mean and deviation, of each image or of all."
    )
    window: tuple[float, float] | Literal["lung", "abdomen", "soft-tissue", "bone", "brain"] | None = Field(
        None, description="Intensities that become -1 to 1, the rest clipped: from and to, or a window of CT by name."
    )
    pixel_size: PixelSize | Literal["median"] | None = Field(
        None, description="Bring images to this pixel size first, in the units of the files; median: of the images."
    )
    zoom: float = Field(
        1.0, ge=0.02, le=4, description="Show the network images at this size: 0.5 has half as many pixels a side."
    )
    val_fraction: float = Field(0.2, ge=0, lt=1, description="Part of the annotation kept for validation.")
    folds: int = Field(0, ge=0, le=100, description="Parts that the images are divided into; 0: no folds.")
    fold: int = Field(0, ge=0, le=100, description="The part that this run validates on, from 1.")

    @model_validator(mode="after")
    def _one_way_to_scale(self) -> Self:
        if self.window is None:
            return self
        if self.normalization != "auto":
            raise ValueError(f"data.window and data.normalization = {self.normalization} exclude each other")
        if not isinstance(self.window, str) and self.window[0] >= self.window[1]:
            raise ValueError(f"data.window = {list(self.window)} has to go from the darker to the brighter value")
        return self

    @model_validator(mode="after")
    def _one_way_to_resize(self) -> Self:
        if self.pixel_size is not None and self.zoom != 1:
            raise ValueError(f"data.pixel_size and data.zoom = {self.zoom:g} exclude each other: both resize images")
        return self

    @model_validator(mode="after")
    def _fold_exists(self) -> Self:
        if self.folds == 1:
            raise ValueError("one fold would leave nothing to learn from: use 2 or more, or 0")
        if self.fold > self.folds:
            raise ValueError(f"there is no fold {self.fold} of {self.folds}")
        return self


class ModelConfig(Frozen):
    """Which network, and from which weights it starts."""

    network: str = Field(
        "plain-unet",
        description="Which network learns. Those for planes learn stacks plane by plane, the others as volumes.",
    )
    encoder: str | None = Field(
        None,
        description="The encoder of the network: one of segmentation-models-pytorch such as resnet34, or tu- and any "
        "model of timm such as tu-convnext_tiny.",
    )
    weights: str = Field(
        "none",
        description="imagenet: an encoder that knows photographs already, fetched once from its hub; none; a model "
        "file to fine-tune; or a file of encoder weights.",
    )
    norm: NormName | None = Field(None, description="Normalization layers; none: those of the network's paper.")
    options: dict[str, int | float | bool | str] = Field(
        default_factory=dict,
        description="The network's own options, such as width and depth. More channels see finer differences, more "
        "levels see farther; both are slower.",
    )


class AugmentConfig(Frozen):
    """Random changes of each training patch. Zero turns a change off.

    Pixels are those of the finest axis: in volumes shapes change in physical space, and volumes whose planes are more
    than three times as far apart as pixels change in their planes only.
    """

    flip: Flip = Field(True, description="Mirror along each axis, or along one; photographs: left-right.")
    quarter_turns: bool = Field(True, description="Turn by right angles, in planes of equal spacing.")
    rotation: float = Field(25.0, ge=0, le=180, description="Largest rotation, degrees.")
    scale: float = Field(0.2, ge=0, le=0.5, description="Largest relative change of size.")
    shear: float = Field(8.0, ge=0, le=45, description="Largest shear, degrees.")
    elastic: float = Field(3.0, ge=0, le=50, description="Size of elastic displacements, pixels.")
    perspective: float = Field(
        0.0, ge=0, le=0.5, description="Largest shift of a corner by a tilt, relative to its distance from the middle."
    )
    piecewise: float = Field(
        0.0, ge=0, le=50, description="Size of the displacements of a coarse grid, linear within its cells, pixels."
    )
    brightness: float = Field(0.15, ge=0, le=1, description="Largest shift, in units of the intensity range.")
    contrast: float = Field(0.25, ge=0, le=0.9, description="Largest relative change of contrast.")
    gamma: float = Field(0.25, ge=0, le=1, description="Largest change of the logarithm of gamma.")
    hue: float = Field(0.0, ge=0, le=180, description="Largest turn of the colours, degrees; three channels only.")
    saturation: float = Field(
        0.0, ge=0, le=1, description="Largest relative change of how colourful it is; three channels only."
    )
    channel_shuffle: Fraction = Field(0.0, description="Share of patches whose channels change places.")
    clahe: Fraction = Field(
        0.0, description="Share of patches with locally equalized histograms, with limited contrast."
    )
    low_resolution: float = Field(
        0.0, ge=0, le=0.9, description="Largest relative loss of resolution: 0.5 shows half as many pixels a side."
    )
    noise: float = Field(0.04, ge=0, le=1, description="Largest standard deviation of added noise.")
    blur: float = Field(0.8, ge=0, le=5, description="Largest sigma of a Gaussian blur, pixels.")
    copy_paste: Fraction = Field(
        0.0, description="Share of patches that objects of other patches are pasted into: whole objects, no strokes."
    )
    probability: Fraction = Field(
        0.6, description="Share of patches that each kind of change without a share of its own is applied to."
    )
    class_frequency: bool = Field(
        False,
        description="Change patches with rare classes more often, with the probability 1 - (1 - p)^r: r is the root of "
        "how many times as frequent the commonest class is as the patch's rarest, at most 4.",
    )


class TrainConfig(Frozen):
    """How the network learns."""

    preset: PresetName = Field("fast", description="How much effort, and so what is chosen where nothing is set.")
    epochs: int | None = Field(None, ge=1, le=1_000_000, description="Most epochs; none: until the minutes are over.")
    minutes: float | None = Field(None, gt=0, le=100_000, description="Most minutes of learning.")
    steps_per_epoch: int = Field(20, ge=1, le=100_000, description="Steps between two looks at the validation.")
    batch_size: int = Field(8, ge=1, le=4096, description="Patches in one step. Fewer need less memory.")
    patch_size: PatchSize = Field(
        128, description="Side of a patch, pixels; of volumes also three, for Z, Y and X. Larger ones see more around."
    )
    optimizer: str = Field("adamw", description="How weights follow from gradients.")
    optimizer_options: Choices = Field(default_factory=dict, description="The optimizer's own, such as momentum.")
    learning_rate: float = Field(2e-3, gt=0, le=10, description="Size of the steps. Smaller is slower and steadier.")
    weight_decay: float = Field(
        1e-2, ge=0, le=10, description="How much weights shrink with each step: more keeps the network simpler."
    )
    schedule: str = Field("flat-cosine", description="How the learning rate changes over the run.")
    schedule_options: Choices = Field(default_factory=dict, description="The schedule's own, such as power.")
    warmup_steps: int = Field(
        20, ge=0, le=100_000, description="Steps until the full rate; cyclic and one-cycle begin in their own way."
    )
    find_rate: bool = Field(False, description="Try many learning rates first, and take the one that is found.")
    encoder_rate: float = Field(1.0, gt=0, le=100, description="Learning rate of the encoder, relative to the rest's.")
    freeze_encoder: Fraction = Field(0.0, description="Share of the run in which the encoder stays as it is.")
    loss: str = Field("dice+ce", description="What is made small.")
    loss_options: Choices = Field(default_factory=dict, description="The loss's own, such as gamma.")
    class_weights: Literal["none", "inverse", "median", "effective"] = Field(
        "none", description="Weigh classes by how rare they are (training/weights.py), times their own weight."
    )
    border_weight: float = Field(
        0.0, ge=0, le=1000, description="Largest weight added to narrow gaps between objects; U-Net's paper: 10."
    )
    border_sigma: float = Field(5.0, gt=0, le=100, description="Width of those gaps, pixels.")
    balanced: Fraction = Field(0.5, description="Share of patches that show each class as often as any other.")
    repeat_worst: float = Field(
        0.0, ge=0, le=0.5, description="Share of each batch that shows the worst patches of the last ten batches again."
    )
    gradient_clip: float = Field(
        1.0, gt=0, le=1e6, description="Longest gradient of a step: what is longer is shortened."
    )
    accumulate: int = Field(1, ge=1, le=1024, description="Batches in a step: as a batch so many times as large.")
    deep_supervision: bool = Field(False, description="Coarse stages of the decoder have to answer, too.")
    averaging: Literal["ema", "swa", "none"] = Field(
        "ema", description="Which weights are used: the moving average, the mean at the ends of epochs, the last."
    )
    ema: float = Field(0.98, ge=0, lt=1, description="Decay of the averaged weights a step; 0: none.")
    swa_start: Fraction = Field(0.75, description="Share of the run after which swa begins to average.")
    forest_guide: bool = Field(True, description="With sparse strokes: start from a random forest's answer.")
    self_training: float = Field(
        1.0, ge=0, le=100, description="With sparse strokes: weight of the network's own averaged answer elsewhere."
    )
    patience: int = Field(30, ge=1, description="Epochs without a better validation Dice before it stops.")
    precision: Precision = Field("auto", description=_PRECISION)
    device: str = Field("auto", pattern=_DEVICE_NAME, description=_DEVICE)
    seed: int = Field(0, ge=0, lt=2**31, description="The same seed on the same CPU gives the same model.")
    tensorboard: bool = Field(False, description="Write the history for TensorBoard too, into RUN/tensorboard.")
    preview_seconds: float = Field(3.0, gt=0, le=3600, description="Seconds between two previews in the viewer.")
    augment: AugmentConfig = AugmentConfig()


class CrfOptions(Frozen):
    """The fully connected CRF behind a network (arXiv:1210.5644), as DeepLab used it (arXiv:1606.00915)."""

    iterations: int = Field(10, ge=1, le=1000, description="Mean field iterations.")
    w1: float = Field(4.0, ge=0, le=1000, description="Weight of pixels that are near and look alike; 0: none.")
    sigma_alpha: float = Field(67.0, gt=0, le=10_000, description="How near that is, pixels.")
    sigma_beta: float = Field(3.0, ge=0.01, le=10_000, description="How alike, where the image goes from 0 to 255.")
    w2: float = Field(3.0, ge=0, le=1000, description="Weight of pixels that are near, whatever their looks; 0: none.")
    sigma_gamma: float = Field(3.0, gt=0, le=1000, description="How near that is, pixels.")


class PredictConfig(Frozen):
    """How a trained network is applied."""

    tile: int | None = Field(
        None, ge=32, le=65536, description="Side of the part of a tile that is kept, pixels; none: 1024, volumes 128."
    )
    batch_size: int = Field(1, ge=1, le=1024, description="Tiles that are predicted together.")
    halo: int | None = Field(None, ge=0, le=65536, description="Border of a tile that is cut off; none: the model's.")
    exact: bool = Field(False, description="Halo of the whole receptive field and float32: no pixel differs.")
    tta: bool = Field(False, description="Average over flips and right-angle turns: eight times the work.")
    tta_scales: tuple[Scale, ...] = Field(
        (), max_length=16, description="Average also over the image at these sizes, such as 0.75 and 1.25: quarters."
    )
    pixel_size: PixelSize | None = Field(
        None, description="Pixel size of the images in the units of the model, in place of what their files say."
    )
    orthoplanes: bool = Field(False, description="A model of planes looks along all three axes of a volume.")
    crf: bool = Field(False, description="Refine the probabilities of planes with a fully connected CRF.")
    crf_options: CrfOptions = CrfOptions()
    precision: Precision = Field("auto", description=_PRECISION)
    device: str = Field("auto", pattern=_DEVICE_NAME, description=_DEVICE)


class RunConfig(Frozen):
    """The whole configuration of a run, as in ``RUN/config.json``.

    Fields that nobody has set are left out of the JSON text until the run starts: then the preset fills them in,
    and the file says everything.
    """

    format: Literal[1] = 1
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="after")
    def _values_are_distinct(self) -> Self:
        values = [c.value for c in self.data.classes]
        if len(set(values)) != len(values):
            raise ValueError(f"two classes share a label value: {sorted(values)}")
        return self

    def to_json(self) -> str:
        """Return the JSON text of ``RUN/config.json``."""
        return self.model_dump_json(indent=2, exclude_unset=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the JSON text of ``RUN/config.json``; raises `ConfigError` for anything else."""
        try:
            return validated(cls, json.loads(text))
        except json.JSONDecodeError as error:
            raise ConfigError(f"The configuration is not JSON: {error}.") from error


def validated(model: type[M], values: Any) -> M:
    """Make a `model` of `values`; raises `ConfigError` with one sentence a mistake."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, model)) from None


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    sentences = []
    for item in error.errors()[:4]:
        place = ".".join(str(part) for part in item["loc"]) or "configuration"
        if item["type"] == "extra_forbidden":
            sentences.append(f"There is no option {place!r}.{_near(item['loc'], model)}")
        else:
            sentences.append(f"{place} = {item['input']!r}: {item['msg'].removeprefix('Value error, ')}.")
    return " ".join(sentences)


def _near(place: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Return a sentence with the options that are most like one that doesn't exist."""
    for part in place[:-1]:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return ""
        model = field.annotation
    near = difflib.get_close_matches(str(place[-1]), model.model_fields, n=3, cutoff=0.5)
    known = " or ".join(map(repr, near)) if near else ", ".join(list(model.model_fields)[:12])
    return f" Did you mean {known}?" if near else (f" There are: {known}." if known else "")


def apply_settings(config: RunConfig, settings: Iterable[str]) -> RunConfig:
    """Apply ``KEY=VALUE`` settings, such as ``train.batch_size=4``, to a configuration.

    Parameters
    ----------
    config : RunConfig
        Where to start from.
    settings : iterable of str
        Dotted keys and values; a value is read as YAML, so ``true``, ``1e-3`` and ``[0, 11]`` work.

    Returns
    -------
    RunConfig
        The changed configuration, validated.

    Raises
    ------
    ConfigError
        If a setting has no ``=``, or names an option that doesn't exist, or gives a value it can't take.
    """
    tree = config.explicit()
    for setting in settings:
        put_setting(tree, setting)
    return validated(RunConfig, tree)


def put_setting(tree: dict[str, Any], setting: str) -> None:
    """Put one ``KEY=VALUE`` setting into a nested dictionary; raises `ConfigError` if it has no ``=``."""
    key, equals, text = setting.partition("=")
    if not equals:
        raise ConfigError(f"{setting!r} is not a setting.", "Write KEY=VALUE, such as train.batch_size=4.")
    _put(tree, key.strip(), _read_value(text))


def _read_value(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    # YAML 1.1 reads 1e-3 as a text: people mean a number.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    here = tree
    for part in path:
        if not isinstance(here.setdefault(part, {}), dict):
            raise ConfigError(f"There is no option {key!r}.", f"{part!r} has no options of its own here.")
        here = here[part]
    here[last] = value


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` laid over it, dictionary by dictionary."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def read_config_file(text: str) -> dict[str, Any]:
    """Read a YAML (or JSON) configuration file into a nested dictionary of settings.

    Raises
    ------
    ConfigError
        If the text is no YAML, or not a mapping of sections.
    """
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"The configuration file is not YAML: {error}.") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError("The configuration file holds no sections.", "Write 'train:', then 'batch_size: 4' below it.")
    return tree
