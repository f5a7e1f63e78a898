"""Titles and meanings of numbers on pages: those of the measures, and of what else is counted."""

from __future__ import annotations

from napari_segnet.evaluation.measures import MEASURES
from napari_segnet.reports.page import Column

_OTHERS = {
    "images": ("Images", "Images that have the class in either side."),
    "truth_pixels": ("Pixels in the reference", "Of all images."),
    "predicted_pixels": ("Pixels in the prediction", "Of all images."),
    "missed_images": ("Images with it in one only", "Images that have the class in one of both sides only."),
    "matched": ("Found", "Objects with an IoU of at least 0.5."),
    "missed": ("Missed", "True objects without a match."),
    "invented": ("Invented", "Predicted objects without a match."),
    "truth_objects": ("True objects", "Objects of the reference."),
    "predicted_objects": ("Predicted objects", "Objects of the prediction."),
    "best_threshold": ("Best threshold", "Threshold of the probability with the best Dice over all pixels."),
    "dice_at_best_threshold": ("Dice there", "Dice over all pixels at the best threshold."),
    "dice_at_half": ("Dice at 0.5", "Dice over all pixels at a threshold of 0.5."),
}


def title(name: str) -> str:
    """Return what people read for a number."""
    if name in MEASURES:
        return MEASURES[name].title
    return _OTHERS[name][0] if name in _OTHERS else name.replace("_", " ")


def meaning(name: str) -> str:
    """Return what a number means, with its source where it is a measure."""
    if name in MEASURES:
        return f"{MEASURES[name].formula} {MEASURES[name].source}"
    return _OTHERS[name][1] if name in _OTHERS else ""


def column(name: str, unit: str = "") -> Column:
    """Return the column of a number; of a length with its unit."""
    length = name in MEASURES and MEASURES[name].unit == "length"
    return Column(f"{title(name)} [{unit}]" if length and unit else title(name), meaning=meaning(name))
