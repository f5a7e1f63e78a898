"""The smallest sensible version of each network, so that tests of all of them take seconds."""

from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.models.registry import build_network

_SMALL = {"encoder": "tu-mobilenetv3_small_050", "options": {"decoder_width": 16}}

TINY = {
    "plain-unet": {"options": {"width": 4, "depth": 2}},
    "unet-original": {"options": {"width": 8, "depth": 2, "dropout": 0.0}},
    "imageseg-unet": {"options": {"filters": 4, "blocks": 2}},
    "imageseg-unetplusplus": {"options": {"filters": 4, "blocks": 2}},
    "workshop-unet": {"options": {"width": 4}},
    "attention-unet": {"options": {"width": 4, "depth": 2}},
    "r2unet": {"options": {"width": 4, "depth": 2}},
    "unet3plus": {"options": {"width": 4, "depth": 2}},
    "unext": {"options": {"width": 4}},
    "dynamic-unet": {"encoder": "tu-mobilenetv3_small_050", "options": {"depth": 3}},
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
    "segnet": {"options": {"width": 4}},
    "segnet-basic": {"options": {"width": 8}},
    "vgg-segnet": {"options": {"width": 4}},
    "fcn-32s": {"options": {"width": 4, "head": 32, "dropout": 0}},
    "fcn-16s": {"options": {"width": 4, "head": 32, "dropout": 0}},
    "fcn-8s": {"options": {"width": 4, "head": 32, "dropout": 0}},
    "fc-densenet56": {"options": {"width": 4, "growth": 2, "dropout": 0}},
    "fc-densenet67": {"options": {"width": 4, "growth": 2, "dropout": 0}},
    "fc-densenet103": {"options": {"width": 4, "growth": 2, "dropout": 0}},
    "deeplab-largefov": {"options": {"width": 4, "head": 32, "dropout": 0}},
    "deeplabv2": {"options": {"width": 4, "head": 32, "dropout": 0}},
    "dilation-frontend": {"options": {"width": 4, "head": 32, "dropout": 0}},
    "dilation-basic": {"options": {"width": 4, "head": 32, "dropout": 0, "maps": 4}},
    "dilation-large": {"options": {"width": 4, "head": 32, "dropout": 0, "maps": 4}},
    "resnet50-unet": {**_SMALL, "options": {"width": 4}},
    "se-resnet-unet": {**_SMALL, "options": {"width": 4}},
    "densenet-unet": {**_SMALL, "options": {"width": 4}},
    "xception-resunet": {**_SMALL, "options": {"width": 2}},
    "efficientnet-resunet": {**_SMALL, "options": {"width": 2}},
    "inception-unet": {"options": {"width": 4}},
    "dense-inception-unet": {"options": {"width": 4, "layers": 2, "growth": 4}},
    "unet3d": {"options": {"width": 4}},
    "vnet": {"options": {"dropout": 0.0}},
    "attention-unet3d": {"options": {"width": 4, "depth": 2}},
    "segresnet": {"options": {"width": 8}},
    "dynunet": {"options": {"width": 4, "depth": 2, "flat_levels": 1}},
    "swinunetr": {"options": {"width": 12, "window": 2}},
}
"""What `build_network` is asked for beside channels and outputs."""

SIDES = {"fcn-32s": 256, "vnet": 32}
"""Sides of the images that a network is taught, where 64 (16 of volumes) hold too few of its cells."""


def build_tiny(name, channels=3, outputs=2):
    """Build a network of the catalogue as small as it gets."""
    return build_network(name, channels=channels, outputs=outputs, **TINY[name])


def names():
    return sorted(NETWORKS)
