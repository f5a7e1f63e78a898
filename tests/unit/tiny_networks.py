"""The smallest sensible version of each network, so that tests of all of them take seconds."""

from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.models.registry import build_network

_SMALL = {"encoder": "tu-mobilenetv3_small_050", "options": {"decoder_width": 16}}

TINY = {
    "plain-unet": {"options": {"width": 4, "depth": 2}},
    "unet": _SMALL,
    "unetplusplus": _SMALL,
    "manet": {**_SMALL, "options": {"decoder_width": 16, "attention_width": 8}},
    "linknet": {"encoder": "tu-mobilenetv3_small_050"},
    "fpn": {**_SMALL, "options": {"decoder_width": 64}},
    "pspnet": _SMALL,
    "pan": _SMALL,
    "deeplabv3": {**_SMALL, "options": {"decoder_width": 16, "output_stride": 16}},
    "deeplabv3plus": _SMALL,
    "upernet": _SMALL,
    "segformer": {"encoder": "mit_b0", "options": {"decoder_width": 16}},
    "dpt": {"encoder": "tu-test_vit", "options": {"decoder_width": 16}},
}
"""What `build_network` is asked for beside channels and outputs."""


def build_tiny(name, channels=3, outputs=2):
    """Build a network of the catalogue as small as it gets."""
    return build_network(name, channels=channels, outputs=outputs, **TINY[name])


def names():
    return sorted(NETWORKS)
