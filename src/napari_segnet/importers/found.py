"""What an importer finds in a file."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from napari_segnet.importers.intensities import Intensities


@dataclass(frozen=True)
class Found:
    """A trained network, in terms of our catalogue.

    Attributes
    ----------
    network, encoder, options
        What `build_network` is asked for.
    channels : int
        Channels of the image.
    weights : dict of str to Tensor
        By the names of that network's ``state_dict``; the last two are the last layer's, with as many outputs as
        the file has. One output is a foreground's logit.
    intensities : {"0..1", "imagenet", "raw"}
        What it was fed with, unless the user says otherwise.
    side : int, tuple of int, or None
        Side of the patches that it learned from, pixels; of volumes along Z, Y and X.
    classes : tuple of str
        Names of the outputs in order, if the file has them.
    notes : tuple of str
        What was assumed or left out, a sentence each.
    versions : dict of str to str
        Of the tools that made the file.
    """

    network: str
    channels: int
    weights: dict[str, Tensor]
    encoder: str | None = None
    options: dict[str, int | float | bool | str] = field(default_factory=dict)
    intensities: Intensities = "0..1"
    side: int | tuple[int, int, int] | None = None
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
