"""Exports of one file: ONNX, TorchScript, ``torch.export``; a JSON and the test arrays beside it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np

from napari_segnet.export import ExportConfig, Exporter, Report, onnx_file, torch_export_file, torchscript_file
from napari_segnet.export.graph import place_of_normalization
from napari_segnet.export.parity import check_parity
from napari_segnet.export.placing import placed
from napari_segnet.export.request import make_request
from napari_segnet.export.sidecar import describe, notes_of
from napari_segnet.models.packages import sidecar_of

_MODULES: dict[str, ModuleType] = {
    "onnx": onnx_file,
    "torchscript": torchscript_file,
    "torch-export": torch_export_file,
}


def write(model: Path, out: Path, config: ExportConfig, exporter: Exporter) -> Report:
    """Write a model as one file, with its description and its test arrays.

    Parameters
    ----------
    model, out, config
        As for `export_model`.
    exporter : Exporter
        Of onnx, torchscript or torch-export.

    Raises
    ------
    SegNetError
        If the network can't be written so, or the file says something else than the model.
    """
    module = _MODULES[exporter.name]
    with placed(out, exporter.suffixes) as target:
        request = make_request(model, config)
        info = request.info
        where = place_of_normalization(info)
        about = {"napari_segnet": info.model_dump(mode="json")}
        module.save(request.exported(where), request.example(where), target.main, about)
        trials = request.trials(where)
        parity = check_parity(module.runner(target.main), trials, module.WHAT, module.REMEDY)
        said = json.dumps(describe(info, where, target.main, parity), indent=1)
        sidecar_of(target.main).write_text(said, encoding="utf-8")
        for kind, array in (("input", trials[0].image), ("output", trials[0].answer)):
            np.save(target.folder / f"{target.main.name}.test_{kind}.npy", array)
        files = tuple(sorted(path.name for path in target.folder.iterdir()))
    words = (f"{exporter.name}: {parity.words}", *notes_of(info, where))
    return Report(out, files, {exporter.name: parity.largest}, words)
