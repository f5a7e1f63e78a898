"""The description of a package: axes, processing, names, in the words of bioimage.io's format 0.5.

https://bioimage-io.github.io/spec-bioimage-io describes it. Only fields that all its versions since 0.5.3 know are
written.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from napari_segnet.axes import per_axis
from napari_segnet.data.normalization import Normalization
from napari_segnet.errors import ConfigError
from napari_segnet.export import ExportConfig
from napari_segnet.export.graph import Place, output_names, place_of_normalization
from napari_segnet.export.libraries import import_extra
from napari_segnet.export.sample import sides_with_halo
from napari_segnet.models.card import default_description, default_name
from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.models.info import ModelInfo

IMAGE, ANSWER = "image", "probabilities"
"""Names of the tensors."""
_UNITS = ("angstrom", "centimeter", "inch", "meter", "micrometer", "millimeter", "nanometer")
_EPS = 1e-9
"""Added to spreads, which the format wants: far below what images differ by."""
_LEAST_DEVIATION = 1e-6
"""Least standard deviation that the format can say."""


def place_in_package(info: ModelInfo) -> Place:
    """Say whether the description scales images, or the weights do where it can't.

    Raises
    ------
    ConfigError
        As `place_of_normalization`.
    """
    place = place_of_normalization(info)
    ways = [member.normalization for member in info.members or (info,)]
    return "outside" if all(way == ways[0] for way in ways) and _can_be_said(ways[0]) else place


def _can_be_said(way: Normalization) -> bool:
    if way.mode != "dataset":
        return True
    halves = [(high - low) / 2 for low, high in zip(way.low, way.high, strict=True)]
    return bool(min(halves) >= _LEAST_DEVIATION)


def preprocessing(way: Normalization, spatial: str) -> list[dict[str, Any]]:
    """Return the steps that scale images as `napari_segnet.data.normalization` does."""
    axes = list(spatial.lower())
    clip = {"id": "clip", "kwargs": {"min": -way.clip, "max": way.clip}}
    if way.mode == "none":
        return [clip]
    if way.mode == "image":
        low, high = way.percentiles
        ends = {"axes": axes, "min_percentile": low, "max_percentile": high, "eps": _EPS}
        # The range becomes 0 .. 1 there, and -1 .. 1 here.
        return [
            {"id": "scale_range", "kwargs": ends},
            {"id": "scale_linear", "kwargs": {"gain": 2.0, "offset": -1.0}},
            clip,
        ]
    if way.mode == "zscore":
        return [{"id": "zero_mean_unit_variance", "kwargs": {"axes": axes, "eps": _EPS}}, clip]
    lows, highs = np.asarray(way.low, np.float32), np.asarray(way.high, np.float32)
    numbers = {"mean": ((highs + lows) / 2).tolist(), "std": ((highs - lows) / 2).tolist(), "axis": "channel"}
    return [{"id": "fixed_zero_mean_unit_variance", "kwargs": numbers}, clip]


def tensors(info: ModelInfo, place: Place) -> dict[str, list[dict[str, Any]]]:
    """Return the description of the image and of the answer; names of test files are added by the one who has them."""
    spatial = info.axes.lower()
    lengths = info.pixel_size[-len(spatial) :] if info.pixel_size and info.units in _UNITS else None
    halos = per_axis(info.halo, len(spatial))
    into: list[dict[str, Any]] = [{"type": "batch"}, _channels([f"channel {n}" for n in range(info.channels)])]
    out: list[dict[str, Any]] = [{"type": "batch"}, _channels(output_names(info))]
    for number, (letter, least, stride) in enumerate(zip(spatial, sides_with_halo(info), info.strides, strict=True)):
        axis: dict[str, Any] = {"type": "space", "id": letter}
        if lengths is not None:
            axis |= {"scale": float(lengths[number]), "unit": info.units}
        into.append({**axis, "size": {"min": least, "step": stride}})
        halo = {"halo": halos[number]} if halos[number] else {}
        out.append({**axis, "size": {"tensor_id": IMAGE, "axis_id": letter}, **halo})
    way = (info.members or (info,))[0].normalization
    steps = preprocessing(way, info.axes) if place == "outside" else []
    image = {
        "id": IMAGE,
        "description": "Intensities as they are in the file.",
        "axes": into,
        "data": {"type": "float32"},
        "preprocessing": steps,
    }
    answer = {
        "id": ANSWER,
        "description": "Probability of each class.",
        "axes": out,
        "data": {"type": "float32", "range": [0.0, 1.0]},
    }
    return {"inputs": [image], "outputs": [answer]}


def _channels(names: list[str]) -> dict[str, Any]:
    return {"type": "channel", "channel_names": names}


def about(info: ModelInfo, config: ExportConfig) -> dict[str, Any]:
    """Return name, description, authors, licence, tags and what to cite.

    Raises
    ------
    ConfigError
        For what the format doesn't allow.
    """
    if config.name is not None and not re.fullmatch(r"[A-Za-z0-9_+\- ()]{5,128}", config.name):
        raise ConfigError(
            f"{config.name!r} is no name that bioimage.io allows.",
            "Take 5 to 128 letters, digits, spaces, and _ + - ( ).",
        )
    wrong = next((name for name in config.authors if "/" in name or "\\" in name), None)
    if wrong is not None:
        raise ConfigError(f"The author {wrong!r} has a slash in the name.", "Write several as authors=[NAME, NAME].")
    if config.license is not None and not _is_licence(config.license):
        raise ConfigError(
            f"{config.license!r} is no licence that bioimage.io knows.",
            "Take a name of spdx.org/licenses, such as CC-BY-4.0, CC0-1.0, MIT or BSD-3-Clause.",
        )
    said: dict[str, Any] = {
        "name": config.name or _plain_name(default_name(info)),
        "description": config.description or default_description(info)[:1024],
        "authors": [{"name": name} for name in config.authors],
        "tags": list(dict.fromkeys([*_tags(info), *config.tags])),
        "cite": [_cited(text) for text in config.cite] or _papers(info),
    }
    if config.license is not None:
        said["license"] = config.license
    if config.version is not None:
        said["version"] = config.version
    return said


def _is_licence(name: str) -> bool:
    kinds = import_extra("bioimageio.spec.model.v0_5")
    for kind in (kinds.LicenseId, kinds.DeprecatedLicenseId):
        try:
            TypeAdapter(kind).validate_python(name)
        except ValidationError:
            continue
        return True
    return False


def _plain_name(text: str) -> str:
    """Return a name of the characters that the format allows, and of enough of them."""
    plain = re.sub(r"\s+", " ", re.sub(r"[^A-Za-z0-9_+\- ()]", " ", text)).strip()
    return (plain if len(plain) >= 5 else f"model {plain}".strip().ljust(5, "_"))[:128]


def _tags(info: ModelInfo) -> list[str]:
    kind = "instance-segmentation" if info.task == "instances" else "semantic-segmentation"
    return [kind, "3d" if info.axes == "ZYX" else "2d", "napari-segnet", "napari", "pytorch", *_networks(info)]


def _networks(info: ModelInfo) -> list[str]:
    return list(dict.fromkeys(member.network for member in info.members or (info,)))


def _papers(info: ModelInfo) -> list[dict[str, str]]:
    """Return the papers of the networks that have a DOI; arXiv's are made of their numbers."""
    found = {}
    for name in _networks(info):
        spec = NETWORKS.get(name)
        for paper in spec.paper.split(";") if spec is not None else ():
            number = re.search(r"arXiv:(\d{4}\.\d{4,5})", paper)
            doi = re.search(r"doi:(10\.\S+?)[,.]?$", paper.strip())
            if number or doi:
                found[paper.strip()] = f"10.48550/arXiv.{number[1]}" if number else doi[1] if doi else ""
    return [{"text": text, "doi": doi} for text, doi in found.items()]


def _cited(text: str) -> dict[str, str]:
    """Read what to cite: a DOI, or an address; what stands before it is the text."""
    doi = re.search(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(10\.\d{4,}/\S+)\s*$", text)
    if doi:
        return {"text": text[: doi.start()].strip(" ,.;") or text, "doi": doi[1]}
    address = re.search(r"https?://\S+\s*$", text)
    if not address:
        raise ConfigError(f"{text!r} ends with no DOI and no address.", "Write what to cite as TEXT 10.1234/NUMBER.")
    return {"text": text[: address.start()].strip(" ,.;") or text, "url": address[0].strip()}
