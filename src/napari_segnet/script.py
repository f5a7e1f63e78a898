"""A run as a text that repeats it: a command line or Python. Imports neither torch nor Qt.

Everything that was set, or chosen when the run started, is written out, so that the text gives the same model on the
same CPU, and can be changed line by line. Images and labels are named as files and folders where pairing them gives
the pairs of the run, in its order; else the run folder itself stands for them: strokes on layers, channels in several
files, or axes and pixel sizes that only the run knows.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from napari_segnet.again import run_of
from napari_segnet.config import PredictConfig, RunConfig, put_setting
from napari_segnet.errors import SegNetError
from napari_segnet.io.pairing import file_stem, pair_files
from napari_segnet.presets import PRESETS, Fingerprint, choose
from napari_segnet.run import PairRecord

_OPTIONS = (
    *("data.unlabelled", "data.task", "data.axes", "data.val_fraction", "data.folds"),
    *("model.network", "model.encoder", "model.weights"),
    *("train.preset", "train.loss", "train.optimizer", "train.schedule", "train.epochs", "train.minutes"),
    *("train.device", "train.seed"),
)
"""Settings with an option of their own; the others are ``--set``."""
_GUESSED = ("data.task", "data.unlabelled", "data.classes", "data.zoom", "train.preset", "train.weight_decay")
"""Settings that are found out when a run starts, besides those of the presets."""
_FLAGS = ("tta", "orthoplanes", "crf", "exact")
_SINGLE, _DOUBLE = "'", '"'
_PLAIN_ON_WINDOWS = re.compile(r"[\w.:\\/=+-]+", re.ASCII)


@dataclass(frozen=True)
class Training:
    """How ``train`` is called: `labels` is None where `images` is a run folder that has both."""

    images: Path
    labels: Path | None
    options: Mapping[str, Any]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Prediction:
    """A prediction that was made.

    Attributes
    ----------
    inputs : tuple of Path
        Image files.
    model : Path, optional
        A model file or a run folder; None: the model of the training in the same script.
    out : Path, optional
        The folder that the answers were written into; None: they were only looked at.
    axes : str, optional
        Axes of the files; None: guessed.
    probabilities, uncertainty, instances : bool
        What was asked for besides labels.
    config : PredictConfig
    """

    inputs: tuple[Path, ...]
    model: Path | None = None
    out: Path | None = None
    axes: str | None = None
    probabilities: bool = False
    uncertainty: bool = False
    instances: bool = False
    config: PredictConfig = field(default_factory=PredictConfig)


def read_training(path: Path | str) -> Training:
    """Say how a run would be started at the shell.

    Parameters
    ----------
    path : Path
        A run folder, or a folder of folds.

    Raises
    ------
    RunFolderError
        If it is neither, or damaged.
    """
    path = Path(path)
    run = run_of(path)
    said = dict(_said(run.config))
    if run.path != path:
        # A fold is told its own number; the whole is not.
        said.pop("data.fold", None)
    weights = said.get("model.weights")
    if run.start.is_file():
        said["model.weights"] = str(run.start.resolve())
    elif weights is not None and Path(weights).exists():
        said["model.weights"] = str(Path(weights).resolve())
    images, labels = _folders(run.pairs) or (path.resolve(), None)
    options = {name.partition(".")[2]: said.pop(name) for name in _OPTIONS if name in said}
    return Training(images, labels, options, said)


def free_path(path: Path | str, word: str = "again") -> Path:
    """Return a name beside a file or folder that is not taken yet: NAME-again, NAME-again-2 ..."""
    path = Path(path).resolve()
    stem = f"{path.name.removesuffix('.safetensors')}-{word}"
    return next(p for n in range(1, 10_000) if not (p := path.with_name(stem + (f"-{n}" if n > 1 else ""))).exists())


def command_line(
    training: Training | None, out: Path, predictions: Sequence[Prediction] = (), *, windows: bool | None = None
) -> str:
    """Write a training, and predictions, as commands of a shell.

    Parameters
    ----------
    training : Training or None
        None: only the predictions.
    out : Path
        The run folder to make.
    predictions : sequence of Prediction
    windows : bool, optional
        For the shells of Windows, a command a line; else with an option a line and POSIX quotes. Default: as the
        system is.

    Returns
    -------
    str
        Ends with a line break.
    """
    windows = os.name == "nt" if windows is None else windows
    commands = [_train_words(training, out, _SINGLE if windows else _DOUBLE)] if training is not None else []
    commands += [_predict_words(prediction, out, _SINGLE if windows else _DOUBLE) for prediction in predictions]
    quote, between = (_quote_for_windows, " ") if windows else (shlex.quote, " \\\n    ")
    lines = [between.join(" ".join(quote(word) for word in words) for words in command) for command in commands]
    return "".join(f"{line}\n" for line in lines)


def python_code(training: Training | None, out: Path, predictions: Sequence[Prediction] = ()) -> str:
    """Write a training, and predictions, as Python; parameters are those of `command_line`."""
    lines = [] if training is None else _call("model = segnet.train", _train_arguments(training, out))
    loaded = None
    for prediction in predictions:
        if prediction.out is not None:
            lines += _call("told = predict_files", _files_arguments(prediction, out))
            lines += ["for _ in told:  # it predicts while its events are read", "    pass"]
            continue
        if prediction.model != loaded:
            loaded = prediction.model
            lines += _call("model = segnet.load", [_literal(str(loaded or out))])
        for path in prediction.inputs:
            lines += _call("result = model.predict", [_literal(str(path)), *_predict_arguments(prediction)])
    text = "\n".join(lines)
    modules = {"segnet.": "import napari_segnet as segnet"}
    modules |= {"PredictConfig(": "from napari_segnet.config import PredictConfig"}
    modules |= {"predict_files(": "from napari_segnet.predict.files import predict_files"}
    imports = [line for name, line in modules.items() if name in text]
    return "\n".join([*imports, "", text, ""])


# ---------------------------------------------------------------- what was said


def _said(config: RunConfig) -> Iterator[tuple[str, Any]]:
    """Yield the settings without which a run would be another one: dotted name, plain value."""
    said, default = config.model_dump(mode="json", exclude_unset=True), RunConfig().model_dump(mode="json")
    # What every class has need not be told.
    data = said.get("data", {})
    if data.get("classes"):
        data["classes"] = [c.model_dump(mode="json", exclude_defaults=True) for c in config.data.classes]
    for section in ("data", "model", "train"):
        for name, value in said.get(section, {}).items():
            inner = value.items() if name == "augment" else [("", value)]
            for key, setting in inner:
                dotted = f"{section}.{name}.{key}".rstrip(".")
                usual = default[section][name][key] if key else default[section][name]
                if setting != usual or (dotted in _left_open() and setting is not None):
                    yield dotted, setting


@cache
def _left_open() -> frozenset[str]:
    """Return the names of settings that are chosen when a run starts: their default says nothing."""
    found = set(_GUESSED)
    for preset in PRESETS:
        for depth in (None, 8):
            settings, _ = choose(preset, Fingerprint(1, 256, 256, 1, 2, 256 * 256, depth=depth))
            for section, values in settings.items():
                found |= {f"{section}.{name}" for name in values}
                found |= {f"train.augment.{name}" for name in values.get("augment", {})}
    return frozenset(found)


def _folders(records: Iterable[PairRecord]) -> tuple[Path, Path] | None:
    """Return the files or folders whose pairs are just those of a run; None where there are none."""
    records = list(records)
    images = [Path(record.images[0]) for record in records]
    labels = [Path(record.labels) for record in records]
    plain = all(len(record.images) == 1 for record in records) and not any(p.suffix == ".npy" for p in images + labels)
    if not records or not plain or [record.name for record in records] != [file_stem(path) for path in images]:
        return None
    pairs = tuple(zip(images, labels, strict=True))
    if len(pairs) == 1:
        return pairs[0]
    parents = ({path.parent for path in images}, {path.parent for path in labels})
    if any(len(folders) != 1 for folders in parents):
        return None
    places = images[0].parent, labels[0].parent
    try:
        return places if pair_files(*places).pairs == pairs else None
    except SegNetError:
        return None  # files were added or removed: they don't make these pairs any more


# ----------------------------------------------------------------------- a shell


def _train_words(training: Training, out: Path, quote: str) -> list[list[str]]:
    places = [training.images, training.labels] if training.labels is not None else [training.images]
    words = [["napari-segnet", "train", *map(str, places)], ["--out", str(out)]]
    words += [[f"--{name.replace('_', '-')}", _text(value, quote)] for name, value in training.options.items()]
    return [*words, *(["--set", f"{name}={_text(value, quote)}"] for name, value in training.settings.items())]


def _predict_words(prediction: Prediction, out: Path, quote: str) -> list[list[str]]:
    model = prediction.model or out
    words = [["napari-segnet", "predict", str(model), *map(str, prediction.inputs)]]
    words.append(["--out", str(prediction.out or free_path(model, "predicted"))])
    words += [[f"--{name}"] for name in ("probabilities", "uncertainty", "instances") if getattr(prediction, name)]
    if prediction.axes is not None:
        words.append(["--axes", prediction.axes])
    for name, value in _changed(prediction.config).items():
        if name in _FLAGS:
            words.append([f"--{name}"])
        elif name == "device" or (name == "pixel_size" and not isinstance(value, list)):
            words.append([f"--{name.replace('_', '-')}", _text(value, quote)])
        else:
            words.append(["--set", f"{name}={_text(value, quote)}"])
    return words


def _changed(config: PredictConfig) -> dict[str, Any]:
    values: dict[str, Any] = config.model_dump(mode="json", exclude_defaults=True)
    return values


def _quote_for_windows(word: str) -> str:
    """Quote as cmd and PowerShell want it, and as programs there take their command line apart."""
    if _PLAIN_ON_WINDOWS.fullmatch(word):
        return word
    # Backslashes count double before a quote, and only there.
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', word)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f'"{escaped}"'


def _text(value: Any, quote: str) -> str:
    """Write a value so that ``--set`` reads it back: as YAML, texts in the quotes that the shell leaves alone."""
    if isinstance(value, str):
        tree: dict[str, Any] = {}
        put_setting(tree, f"value={value}")
        return value if tree["value"] == value else _flow(value, quote)
    return _flow(value, quote)


def _flow(value: Any, quote: str) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item, quote)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item, quote) for item in value) + "]"
    if isinstance(value, float):
        # YAML 1.1 takes 1e-05 for a text.
        return re.sub(r"^(-?\d+)e", r"\1.0e", repr(value))
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if quote == _DOUBLE else "'" + value.replace("'", "''") + "'"
    return json.dumps(value)


# ------------------------------------------------------------------------ Python


def _train_arguments(training: Training, out: Path) -> list[str]:
    arguments = [_literal(str(training.images))]
    if training.labels is not None:
        arguments.append(_literal(str(training.labels)))
    arguments.append(f"run={_literal(str(out))}")
    arguments += [f"{name}={_literal(value)}" for name, value in training.options.items()]
    if training.settings:
        settings = [f"{name}={_text(value, _SINGLE)}" for name, value in training.settings.items()]
        lines = "".join(f"        {_literal(setting)},\n" for setting in settings)
        arguments.append(f"settings=[\n{lines}    ]")
    return arguments


def _predict_arguments(prediction: Prediction) -> list[str]:
    said: dict[str, Any] = {"axes": prediction.axes} if prediction.axes is not None else {}
    if prediction.instances:
        said["instances"] = True
    return [f"{name}={_literal(value)}" for name, value in (said | _changed(prediction.config)).items()]


def _files_arguments(prediction: Prediction, out: Path) -> list[str]:
    inputs = ", ".join(_literal(str(path)) for path in prediction.inputs)
    arguments = [_literal(str(prediction.model or out)), f"[{inputs}]", _literal(str(prediction.out))]
    arguments += [f"{name}=True" for name in ("probabilities", "uncertainty", "instances") if getattr(prediction, name)]
    if prediction.axes is not None:
        arguments.append(f"axes={_literal(prediction.axes)}")
    changed = ", ".join(f"{name}={_literal(value)}" for name, value in _changed(prediction.config).items())
    return [*arguments, f"config=PredictConfig({changed})"] if changed else arguments


def _call(start: str, arguments: Iterable[str]) -> list[str]:
    """Write a call: on one line if it is short, else an argument a line."""
    arguments = list(arguments)
    short = f"{start}({', '.join(arguments)})"
    if len(short) <= 88 and "\n" not in short:
        return [short]
    return [f"{start}(", *(f"    {argument}," for argument in arguments), ")"]


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
