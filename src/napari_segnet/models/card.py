"""The model card: what a model is for, what it learned from, how well it did, and where it ends. No torch.

After Mitchell et al. 2019, Model Cards for Model Reporting, https://arxiv.org/abs/1810.03993. All that a model file
knows is said by itself; what only people know (`About`) is said where it was told, and asked for where it wasn't.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field

from napari_segnet.axes import counted, per_axis, times
from napari_segnet.config import Frozen
from napari_segnet.data.normalization import Normalization
from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.models.info import ModelInfo

_FEW_IMAGES = 5
_TITLES = {"dice": "Dice", "iou": "IoU", "val_loss": "loss"}
_MEASURED = (
    "On the part of the annotated images that was kept for validation, as it was learning. The weights were chosen by "
    "these figures, so that they are on the bright side: measure it on images of your own."
)
_TO_MEASURE = (
    "To measure it on images with known labels: `napari-segnet predict MODEL IMAGES --out PREDICTED`, then "
    "`napari-segnet evaluate PREDICTED LABELS --out REPORT`."
)
_MODES = {
    "dataset": "scaled by limits that are the same for all images",
    "image": "scaled, each image by its own percentiles",
    "zscore": "scaled, each image by its own mean and standard deviation",
    "none": "not scaled",
}
_SHOWN = (
    ("data", ("task", "unlabelled", "normalization", "window", "pixel_size", "zoom", "val_fraction", "folds")),
    ("model", ("network", "encoder", "weights", "norm", "options")),
    (
        "train",
        (
            *("preset", "epochs", "minutes", "batch_size", "patch_size", "optimizer", "learning_rate", "schedule"),
            *("loss", "loss_options", "class_weights", "averaging", "seed", "augment"),
        ),
    ),
)


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Lines = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=500)], ...], BeforeValidator(_as_list)]
"""One text, or several."""


class About(Frozen):
    """What only people know of a model."""

    name: str | None = Field(None, min_length=5, max_length=128, description="What the model is called.")
    description: str | None = Field(None, max_length=1024, description="What it is, in a sentence or two.")
    authors: Lines = Field((), max_length=100, description="Who made it.")
    license: str | None = Field(None, max_length=80, description="How it may be used: an SPDX name, such as CC-BY-4.0.")
    cite: Lines = Field((), max_length=50, description="What to cite: DOIs. Default: the paper of the network.")
    data: str | None = Field(None, max_length=5000, description="Where the training images come from.")
    intended_use: str | None = Field(None, max_length=5000, description="What it is for.")
    limits: str | None = Field(None, max_length=5000, description="What it should not be used for, and where it fails.")


def model_card(info: ModelInfo, about: About | None = None) -> str:
    """Return the card of a model in Markdown.

    Parameters
    ----------
    info : ModelInfo
        What its file says of it.
    about : About, optional
        What its file can't know.
    """
    about = about or About()
    parts = [
        f"# {_line(about.name or default_name(info))}",
        about.description or default_description(info),
        _use(about),
        _in_and_out(info),
        _data(info, about),
        _validation(info),
        _limits(info, about),
        _training(info),
        _how_to(info),
        _made_by(info, about),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def default_name(info: ModelInfo) -> str:
    """Return a name for a model that has none: its classes and its network."""
    things = [c.name for c in info.classes if c.name.lower() != "background"]
    return f"{' and '.join(things[:3]) or 'classes'}{' and more' if len(things) > 3 else ''} ({networks_of(info)})"


def default_description(info: ModelInfo) -> str:
    """Return what a model is, in a sentence."""
    what = "volumes" if info.axes == "ZYX" else "images"
    names = ", ".join(c.name for c in info.classes)
    if info.task == "instances":
        return f"Finds the objects ({info.classes[-1].name}) in {what}, and numbers them. Made with napari-segnet."
    return f"Says of each pixel of {what} which class it belongs to: {names}. Made with napari-segnet."


def networks_of(info: ModelInfo) -> str:
    """Return the network of a model by name and encoder; of an ensemble all of them."""
    names = [f"{m.network}, {m.encoder}" if m.encoder else m.network for m in info.members or (info,)]
    counts = {name: names.count(name) for name in names}
    return " + ".join(name if number == 1 else f"{number} x {name}" for name, number in counts.items())


def _use(about: About) -> str:
    return f"## Intended use\n\n{about.intended_use or 'Images like those that it learned from, described below.'}"


def _in_and_out(info: ModelInfo) -> str:
    rows = [
        ("axes", f"{info.axes}, {counted(info.channels, 'channel')}"),
        ("intensities", intensities(info)),
        ("size", _size(info)),
        ("border of a tile", f"{times(dict.fromkeys(per_axis(info.halo, len(info.axes))))} pixels"),
    ]
    if info.zoom != 1:
        rows.append(("zoom", f"images are shown to the network at {info.zoom:g} times their size"))
    classes = "\n".join(f"| {c.value} | {_cell(c.name)} | {c.colour} |" for c in info.classes)
    return (
        f"## Images\n\n{_table(('', ''), rows)}\n\n## Classes\n\n"
        f"{'Each object gets a number of its own.' if info.task == 'instances' else 'Values of its labels:'}\n\n"
        f"| value | name | colour |\n|---|---|---|\n{classes}"
    )


def intensities(info: ModelInfo) -> str:
    """Return in words how images are scaled before the network sees them."""
    ways = {m.normalization for m in info.members or (info,)} if info.members else {info.normalization}
    return "; ".join(sorted(_scaling(way) for way in ways))


def _scaling(way: Normalization) -> str:
    text = _MODES[way.mode]
    if way.mode == "dataset":
        pairs = [f"{low:g} .. {high:g}" for low, high in zip(way.low, way.high, strict=False)]
        text += f" ({', '.join(dict.fromkeys(pairs))} becomes -1 .. 1)"
    if way.mode == "image":
        text += f" ({way.percentiles[0]:g} % .. {way.percentiles[1]:g} % becomes -1 .. 1)"
    return text + f", cut off at {way.clip:g} and -{way.clip:g}"


def _size(info: ModelInfo) -> str:
    if info.pixel_size is None:
        return "any; the training images didn't say how large their pixels are"
    size = f"{' x '.join(f'{length:.4g}' for length in info.pixel_size)} {info.units or 'units'} a pixel"
    return f"{size}; others are resampled to it" if info.resampled else f"any; training images had {size}"


def _data(info: ModelInfo, about: About) -> str:
    told = about.data or "The people who made the model have not said where its images come from."
    rows: list[tuple[str, str]] = []
    for number, member in enumerate(info.members or (info,), start=1):
        seen = member.fingerprint
        if "imported_from" in seen:
            told += f" It was trained by another tool, and imported ({_line(str(seen.get('importer')))})."
            continue
        # Of a file that others made the description may hold anything.
        known = {key: value for key, value in seen.items() if isinstance(value, int | float)}
        sides = [int(known[key]) for key in ("depth", "height", "width") if key in known]
        lines = [
            ("images", f"{known['images']:g}" if "images" in known else ""),
            ("median size", f"{times(sides)} pixels" if sides else ""),
            ("annotated pixels", f"{known['annotated_pixels']:,}" if "annotated_pixels" in known else ""),
            ("annotated share", f"{known['annotated_share']:.2%}" if "annotated_share" in known else ""),
            ("width of objects", f"{known['object_width']:g} pixels" if "object_width" in known else ""),
            ("digest of the annotation", str(seen.get("annotation_sha256", ""))[:16]),
        ]
        named = f"model {number}, " if info.members else ""
        rows += [(named + what, text) for what, text in lines if text]
    zero = (
        "Unpainted pixels were not annotated, and took no part in learning."
        if info.unlabelled == "ignore"
        else "Pixels of value 0 were background."
    )
    return f"## Training data\n\n{told}\n\n{_table(('', ''), rows)}\n\n{zero}"


def _validation(info: ModelInfo) -> str:
    scores = {k: v for k, v in info.scores.items() if k.startswith("val_")}
    lines = ["## Validation", ""]
    if scores:
        lines += [
            _MEASURED,
            "",
            _table(("score", "value"), [(_title(name), f"{value:.4f}") for name, value in sorted(scores.items())]),
        ]
    elif any(member.scores for member in info.members):
        rows = [
            (f"model {number}", f"{member.scores['val_dice']:.4f}")
            for number, member in enumerate(info.members, start=1)
            if "val_dice" in member.scores
        ]
        lines += ["Each model on the part that was kept for its validation.", "", _table(("", "Dice"), rows)]
    else:
        lines += ["No figures: nothing was kept for validation, or the model was trained by another tool."]
    return "\n".join([*lines, "", _TO_MEASURE])


def _title(name: str) -> str:
    plain = name.removeprefix("val_")
    return _TITLES.get(name, _TITLES.get(plain, plain.replace("_", " ")))


def _limits(info: ModelInfo, about: About) -> str:
    told = [about.limits] if about.limits else []
    return "## Limits\n\n" + "\n".join(f"- {text}" for text in (*told, *_known_limits(info)))


def _known_limits(info: ModelInfo) -> Iterator[str]:
    """Say what follows from what the file knows."""
    seen = [member.fingerprint.get("images") for member in info.members or (info,)]
    counts = [number for number in seen if isinstance(number, int)]
    if counts and max(counts) < _FEW_IMAGES:
        yield f"It learned from {counted(max(counts), 'image')} only: others may look different in ways it never saw."
    validated = [member for member in info.members or (info,) if "val_dice" in member.scores]
    if not validated:
        yield "How well it does on images that it never saw has not been measured."
    yield f"It takes {counted(info.channels, 'channel')}, in the order of the training images."
    if any(member.normalization.mode == "dataset" for member in info.members or (info,)):
        yield "Images of another range of intensities, such as another exposure or another bit depth, will confuse it."
    if info.resampled:
        yield "Images have to say how large their pixels are."
    else:
        yield "It knows things by their size in pixels: at another magnification it may not know them."
    if info.task == "instances":
        yield "Objects that touch are told apart by their boundaries: where these can't be seen, they become one."
    yield "It always answers with one of its classes, also for what is none of them."
    yield "It is a tool for research, and has not been examined for medical decisions."


def _training(info: ModelInfo) -> str:
    lines = ["## Training", ""]
    for number, member in enumerate(info.members or (info,), start=1):
        if info.members:
            lines += [f"Model {number}:", ""]
        spec = NETWORKS.get(member.network)
        if spec is not None:
            lines += [f"Network: {spec.name}. {spec.idea} {spec.paper}.", ""]
        said = member.config.explicit()
        # What another tool did isn't known: then the configuration is nobody's.
        if len(said) > 1 and spec is not None and "imported_from" not in member.fingerprint:
            lines += [
                "```yaml",
                yaml.safe_dump(_settings(said), sort_keys=False, allow_unicode=True).strip(),
                "```",
                "",
            ]
    return "\n".join(lines)


def _settings(said: dict[str, Any]) -> dict[str, Any]:
    """Return the settings worth showing, as plain values; of files their names alone."""
    found: dict[str, Any] = {}
    for section, keys in _SHOWN:
        values = {key: _plain(said.get(section, {}).get(key)) for key in keys}
        found[section] = {key: value for key, value in values.items() if value not in (None, {}, [])}
    weights = found["model"].get("weights")
    if weights not in (None, "none", "imagenet"):
        found["model"]["weights"] = PurePath(str(weights).replace("\\", "/")).name
    return {section: values for section, values in found.items() if values}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def _how_to(info: ModelInfo) -> str:
    instances = " --instances" if info.task == "instances" else ""
    return (
        "## How to use it\n\n```\npip install napari-segnet\n"
        f"napari-segnet predict MODEL IMAGES --out PREDICTED{instances}\n```\n\n"
        "MODEL is the model file, its run folder, or the package that holds it. In napari: *Plugins > napari-segnet*, "
        "and choose the file."
    )


def _made_by(info: ModelInfo, about: About) -> str:
    papers = [spec.paper for m in info.members or (info,) if (spec := NETWORKS.get(m.network)) is not None]
    rows = [
        ("authors", ", ".join(about.authors) or "not said"),
        ("licence", about.license or "not said: ask before you use it"),
        ("cite", "; ".join(about.cite or dict.fromkeys(papers)) or "not said"),
        *((name, version) for name, version in (info.members[0] if info.members else info).versions.items()),
    ]
    return f"## Authors, licence, versions\n\n{_table(('', ''), rows)}"


def _table(head: Sequence[str], rows: Sequence[tuple[str, str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---|---|", *(f"| {_cell(a)} | {_cell(b)} |" for a, b in rows)]
    return "\n".join(lines) if rows else ""


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(text.split())
