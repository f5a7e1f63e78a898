"""Checkpoints: tensors and numbers in one safetensors file, nothing pickled."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from napari_segnet.errors import RunFolderError
from napari_segnet.models.info import read_header
from napari_segnet.run import write_atomically
from napari_segnet.training.learner import Learner

_KEY = "napari_segnet_checkpoint"


def write_checkpoint(path: Path, learner: Learner) -> None:
    """Write everything that is needed to go on exactly from here."""
    tensors, numbers = learner.state()
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomically(path, save(contiguous, {_KEY: json.dumps(numbers)}))


def read_checkpoint(path: Path, learner: Learner) -> None:
    """Put a learner into the state of a checkpoint.

    Raises
    ------
    RunFolderError
        If the checkpoint is damaged or of another network.
    """
    try:
        numbers = json.loads(read_header(path)["__metadata__"][_KEY])
        learner.load_state(load_file(path, device=str(learner.device)), numbers)
    except (KeyError, ValueError, TypeError, RuntimeError, SafetensorError, OSError) as error:
        raise RunFolderError(
            f"The checkpoint {path} can't be used: {str(error).splitlines()[0]}.",
            "Train again, or start from the run's model.safetensors (--weights).",
        ) from error
