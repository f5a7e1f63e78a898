"""What a prediction is written into, and what of the network's answer goes there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from napari_segnet.predict import outputs


@dataclass(frozen=True)
class Wanted:
    """The arrays that a prediction is written into; None: not wanted. See `Predictor.predict_plane`."""

    labels: Any = None
    probabilities: Any = None
    uncertainty: Any = None
    interior: Any = None

    def arrays(self) -> dict[str, Any]:
        """Return the arrays that are wanted, by name."""
        return {name: array for name, array in vars(self).items() if array is not None}

    def check(self, shape: tuple[int, ...], classes: int) -> None:
        """Raise ValueError unless something is wanted, in arrays for ([Z], Y, X) and so many classes."""
        arrays = self.arrays()
        if not arrays:
            raise ValueError("predict_plane needs at least one array to write into")
        for name, array in arrays.items():
            expected: tuple[int, ...] = (classes, *shape) if name == "probabilities" else tuple(shape)
            if tuple(array.shape) != expected:
                raise ValueError(f"{name}_out has shape {tuple(array.shape)} instead of {expected}")


def answers_of(logits: Tensor, wanted: Wanted) -> dict[str, Tensor]:
    """Return what is wanted of the logits (1, K, [Z], Y, X) of the classes that labels have."""
    found = {}
    if wanted.labels is not None:
        found["labels"] = outputs.class_index(logits)[0]
    if wanted.probabilities is not None or wanted.uncertainty is not None:
        logarithms = logits.float().log_softmax(dim=1)
        if wanted.uncertainty is not None:
            found["uncertainty"] = outputs.uncertainty(logarithms)[0]
        if wanted.probabilities is not None:
            found["probabilities"] = logarithms.exp()[0]
    return found
