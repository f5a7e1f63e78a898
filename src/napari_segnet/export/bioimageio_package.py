"""Packages of bioimage.io: a description, weights that other programs can run, and our own model file.

What is written is read again by ``bioimageio.spec``, and run by ``bioimageio.core`` on its test image and on other
sizes, before it gets its name.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from napari_segnet.errors import ConfigError, ModelFileError
from napari_segnet.export import ExportConfig, Exporter, Report, onnx_file, torchscript_file
from napari_segnet.export.card_file import about_of
from napari_segnet.export.cover import draw_cover
from napari_segnet.export.exported_program import quiet
from napari_segnet.export.graph import Place
from napari_segnet.export.libraries import import_extra
from napari_segnet.export.parity import Parity, check_parity
from napari_segnet.export.placing import placed
from napari_segnet.export.rdf import about, place_in_package, tensors
from napari_segnet.export.request import Request, make_request
from napari_segnet.export.sidecar import notes_of
from napari_segnet.models.card import model_card
from napari_segnet.models.file import write_model
from napari_segnet.models.packages.description import OWN

_MODEL, _CARD, _COVER, _DESCRIPTION = "model.safetensors", "README.md", "cover.png", "rdf.yaml"
_WEIGHTS = {"torchscript": ("weights.pt", torchscript_file), "onnx": ("weights.onnx", onnx_file)}
_AIR = (
    "In images of which more than a quarter is exactly 0, such as the air around a body, napari-segnet leaves these "
    "pixels out when it measures them; other programs can't be told so, and will answer differently there."
)
_UNSAID = {
    "authors": "authors=[NAME, NAME]",
    "license": "license=CC-BY-4.0",
    "description": "description=TEXT",
    "test_image": "test_image=FILE",
}


def write(model: Path, out: Path, config: ExportConfig, exporter: Exporter) -> Report:
    """Write a package.

    Parameters
    ----------
    model, config
        As for `export_model`.
    out : Path
        A ``.zip``, or a new folder.
    exporter : Exporter

    Raises
    ------
    SegNetError
        If ``bioimageio.core`` is missing, an option isn't what the format allows, no other program could run the
        network, or a test fails.
    """
    import_extra("bioimageio.core")
    with placed(out, exporter.suffixes) as target:
        request = make_request(model, config)
        about(request.info, config)  # what isn't allowed is said before minutes are spent
        place = place_in_package(request.info)
        parities, notes = _write_files(request, place, target.folder)
        _check_description(target.folder / _DESCRIPTION)
        for weights in parities:
            _run_self_test(target.folder / _DESCRIPTION, weights)
        files = tuple(sorted(path.name for path in target.folder.iterdir()))
    tested = f"bioimageio.core's test passed: {', '.join(parities)}"
    words = (*(f"{name}: {parity.words}" for name, parity in parities.items()), tested, *notes, *_notes(request))
    return Report(out, files, {name: parity.largest for name, parity in parities.items()}, words)


def _write_files(request: Request, place: Place, folder: Path) -> tuple[dict[str, Parity], list[str]]:
    """Write everything into a folder; returns how far each kind of weights is from the model, and what is missing."""
    info, config = request.info, request.config
    # The format runs its own processing: weights are tried on what comes out of ours.
    trials, answer = request.trials(place), request.trial(place).answer
    parities: dict[str, Parity] = {}
    failed: list[ModelFileError] = []
    for name, (file, module) in _WEIGHTS.items():
        try:
            module.save(request.exported(place), request.example(place), folder / file, {})
            parities[name] = check_parity(module.runner(folder / file), trials, module.WHAT, module.REMEDY)
        except ModelFileError as error:
            (folder / file).unlink(missing_ok=True)
            failed.append(error)
    if not parities:
        raise failed[0]
    np.save(folder / "test_input.npy", request.test[np.newaxis])
    np.save(folder / "test_output.npy", answer)
    write_model(folder / _MODEL, info, request.network)
    (folder / _CARD).write_text(model_card(info, about_of(config)), encoding="utf-8")
    (folder / _COVER).write_bytes(draw_cover(info, request.test, answer[0]))
    description = _description(request, place, folder, list(parities))
    text = yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
    (folder / _DESCRIPTION).write_text(text, encoding="utf-8")
    return parities, [f"Left out: {error.problem}" for error in failed]


def _description(request: Request, place: Place, folder: Path, weights: list[str]) -> dict[str, Any]:
    info = request.info
    said = tensors(info, place)
    said["inputs"][0]["test_tensor"] = _described(folder / "test_input.npy")
    said["outputs"][0]["test_tensor"] = _described(folder / "test_output.npy")
    entries: dict[str, Any] = {}
    for name in weights:
        version = {"opset_version": onnx_file.OPSET} if name == "onnx" else {"pytorch_version": _plain_version()}
        # The first is what the others were made of, as far as the format can say it.
        parent = {"parent": weights[0]} if name != weights[0] else {}
        entries[name] = {**_described(folder / _WEIGHTS[name][0]), **version, **parent}
    model = _described(folder / _MODEL)
    return {
        "format_version": _format_version(),
        "type": "model",
        **about(info, request.config),
        "documentation": _described(folder / _CARD),
        "covers": [_described(folder / _COVER)],
        "attachments": [model],
        **said,
        "weights": entries,
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "config": {OWN: {"model": model["source"], "sha256": model["sha256"]}},
    }


def _described(path: Path) -> dict[str, str]:
    return {"source": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _plain_version() -> str:
    return str(torch.__version__).partition("+")[0]


def _format_version() -> str:
    """Return the format that the installed ``bioimageio.spec`` writes."""
    module: Any = import_extra("bioimageio.spec.model.v0_5")
    return str(module.ModelDescr.implemented_format_version)


def _check_description(path: Path) -> None:
    """Let the format's own library read the description; raises `ConfigError` for what it doesn't allow."""
    spec: Any = import_extra("bioimageio.spec")
    with quiet():
        described = spec.load_description(path)
    summary = described.validation_summary
    if isinstance(described, spec.InvalidDescr) or summary.status == "failed":
        raise ConfigError(f"bioimage.io doesn't allow this: {_errors(summary)}", "Change it with --set.")


def _run_self_test(path: Path, weights: str) -> None:
    """Let ``bioimageio.core`` run the package on its test image and on other sizes."""
    core: Any = import_extra("bioimageio.core")
    with quiet():
        summary = core.test_model(path, weight_format=weights)
    if summary.status != "passed":
        raise ModelFileError(
            f"bioimageio.core's test of the {weights} weights failed: {_errors(summary)}",
            "Export it as onnx or torchscript instead.",
        )


def _errors(summary: Any) -> str:
    """Return the first errors of a summary, in one line."""
    found = [
        f"{'.'.join(str(part) for part in error.loc) or detail.name}: {' '.join(str(error.msg).split())[:150]}"
        for detail in summary.details
        for error in detail.errors
    ]
    return "; ".join(found[:3]) or str(summary.status)


def _notes(request: Request) -> list[str]:
    """Return what other programs can't do, and what is still to be said before others can use it."""
    info, config = request.info, request.config
    notes = notes_of(info, "inside")
    if any(member.normalization.mode == "zscore" for member in info.members or (info,)):
        notes.append(_AIR)
    unsaid = [f"--set {how}" for what, how in _UNSAID.items() if not getattr(config, what)]
    if unsaid:
        notes.append(f"Not said yet, but wanted by bioimage.io: {' '.join(unsaid)}")
    return notes
