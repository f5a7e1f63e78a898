"""Files of weights of torch: by name to tensors, and nothing that could be executed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # torch's reader raises it; nothing but tensors is unpickled
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from napari_segnet.errors import ModelFileError

SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
_PLACES = ("state_dict", "model_state_dict", "model", "net", "network", "weights")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read weights by name.

    Training scripts keep them in a dictionary beside other things: they are looked for under the usual names.

    Raises
    ------
    ModelFileError
        If the file is damaged, holds more than tensors and plain values, or no weights.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that files of old versions are slow is nothing that a user can mend
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ModelFileError(
            f"{path} holds more than weights, and to load it could execute code.",
            "Load it where you trust it, and save its weights alone: torch.save(model.state_dict(), 'name.pt').",
        ) from error
    except Exception as error:  # on a damaged file both readers raise many kinds, which differ between versions
        said = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise ModelFileError(f"{path} is no file of weights, or is damaged: {said}.", "Copy it again.") from error
    found = _weights_in(content)
    if found is None:
        inside = ", ".join(map(repr, content)) if isinstance(content, Mapping) else type(content).__name__
        raise ModelFileError(
            f"{path} holds no weights by name, but {inside[:200]}.", "Save model.state_dict() and import that."
        )
    return found


def _weights_in(content: Any) -> dict[str, Tensor] | None:
    if not isinstance(content, Mapping):
        return None
    if content and all(isinstance(name, str) and isinstance(v, Tensor) for name, v in content.items()):
        return {name: value.detach() for name, value in content.items()}
    inner = [found for place in _PLACES if (found := _weights_in(content.get(place))) is not None]
    return inner[0] if len(inner) == 1 else None


def without_prefix(weights: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights by the names of a network, and the names of those that it doesn't have.

    Wrappers put their own name before each: ``module.``, ``model.``, ``_orig_mod.``. Counters that older files lack
    are added.

    Parameters
    ----------
    weights : mapping of str to Tensor
        Of a file.
    like : mapping of str to Tensor
        The ``state_dict`` of the network; its order is taken.

    Raises
    ------
    ModelFileError
        If a weight of the network is missing in the file.
    """
    prefixes = [name.removesuffix(next(iter(like))) for name in weights if name.endswith(next(iter(like)))]
    prefix = min(prefixes, key=len, default="")
    found = {}
    for name, value in like.items():
        if prefix + name in weights:
            found[name] = weights[prefix + name]
        elif name.endswith("num_batches_tracked"):
            found[name] = torch.zeros((), dtype=value.dtype)
        else:
            raise ModelFileError(f"The weights are not those of this network: {name!r} is missing.")
    return found, sorted(weights.keys() - {prefix + name for name in like})
