"""The networks that can be chosen by name: a frozen entry each.

The command line, the viewer and the docs list these entries; the code behind one is imported when it is built.
This module imports no torch.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from napari_segnet.config import Frozen


@dataclass(frozen=True)
class NetworkSpec:
    """A network that can be chosen by name, and its card in the docs.

    Attributes
    ----------
    name : str
        The one that its paper gave it, as far as people type it.
    idea, when : str
        What is special about it; when to use it. A sentence each.
    paper : str
        Authors, year, and where to find it.
    module : str
        Module in this room that holds ``build(request)`` and `Options`, or `OPTIONS` by name where it holds several.
    encoder : str
        The encoder it takes unless another is asked for; empty where there is none to choose.
    parameters : str
        What the paper or the reference implementation says of its size, and where.
    """

    name: str
    idea: str
    when: str
    paper: str
    module: str
    encoder: str = ""
    parameters: str = ""

    @property
    def encoders(self) -> bool:
        """Whether the encoder can be chosen."""
        return bool(self.encoder)

    def load(self) -> ModuleType:
        """Import the module of the network, and torch with it."""
        return importlib.import_module(f"napari_segnet.models.{self.module}")

    def options_model(self) -> type[Frozen]:
        """Return the class of the network's own options."""
        module = self.load()
        model: type[Frozen] = module.OPTIONS[self.name] if hasattr(module, "OPTIONS") else module.Options
        return model


_RONNEBERGER = "Ronneberger, Fischer, Brox 2015, arXiv:1505.04597"

NETWORKS: dict[str, NetworkSpec] = {
    spec.name: spec
    for spec in (
        NetworkSpec(
            "plain-unet",
            idea="U-Net with batch normalization, residual blocks, a light decoder and no encoder to choose.",
            when="First, and whenever there is no GPU: it learns quickly from scratch.",
            paper=_RONNEBERGER,
            module="plain_unet",
        ),
        # segmentation-models-pytorch
        NetworkSpec(
            "unet",
            idea="U-Net decoder on any classification network as encoder.",
            when="With pretrained weights and a GPU: the field's first choice.",
            paper=_RONNEBERGER,
            module="smp_networks",
            encoder="resnet18",
        ),
        NetworkSpec(
            "unetplusplus",
            idea="U-Net whose skip connections are nested and dense, so that what is joined is alike.",
            when="Objects of very different sizes, and time for a slower network.",
            paper="Zhou et al. 2018, arXiv:1807.10165",
            module="smp_networks",
            encoder="resnet18",
        ),
        NetworkSpec(
            "manet",
            idea="U-Net decoder with attention between all positions, and between encoder and decoder channels.",
            when="Organs and tumours, where far places say what a place is.",
            paper="Fan et al. 2020 (MA-Net), doi:10.1109/ACCESS.2020.3025372",
            module="smp_networks",
            encoder="resnet18",
        ),
        NetworkSpec(
            "linknet",
            idea="Encoder features are added to the decoder instead of joined: fewer channels, less memory.",
            when="Speed matters: video, large images, small devices.",
            paper="Chaurasia and Culurciello 2017, arXiv:1707.03718",
            module="smp_networks",
            encoder="resnet18",
        ),
        NetworkSpec(
            "fpn",
            idea="A pyramid of features of one width, from coarse to fine, summed for the answer.",
            when="The same things at many sizes, as in aerial and street images.",
            paper="Kirillov et al. 2019, arXiv:1901.02446; Lin et al. 2017, arXiv:1612.03144",
            module="smp_networks",
            encoder="resnet18",
        ),
        NetworkSpec(
            "pspnet",
            idea="Pools the whole image in 1, 4, 9 and 36 parts, so that every pixel knows the scene.",
            when="Scenes with large regions; not for fine outlines: it answers at an eighth of the resolution.",
            paper="Zhao et al. 2017, arXiv:1612.01105",
            module="smp_networks",
            encoder="resnet18",
        ),
        NetworkSpec(
            "pan",
            idea="Attention over a small pyramid, and global pooling that guides the decoder.",
            when="Scenes, with a light decoder; images and patches of 128 pixels and more.",
            paper="Li et al. 2018, arXiv:1805.10180",
            module="smp_networks",
            encoder="resnet18",
        ),
        NetworkSpec(
            "deeplabv3",
            idea="Dilated convolutions of several rates and global pooling on features of 1/8 resolution.",
            when="Large things that need context more than sharp outlines.",
            paper="Chen et al. 2017, arXiv:1706.05587",
            module="smp_networks",
            encoder="resnet18",
        ),
        NetworkSpec(
            "deeplabv3plus",
            idea="DeepLabv3 with separable convolutions and a small decoder that sharpens outlines.",
            when="Photographs of scenes, with pretrained weights.",
            paper="Chen et al. 2018, arXiv:1802.02611",
            module="smp_networks",
            encoder="resnet18",
        ),
        NetworkSpec(
            "upernet",
            idea="Pyramid pooling on top of a feature pyramid.",
            when="Scenes, above all with transformer or ConvNeXt encoders.",
            paper="Xiao et al. 2018, arXiv:1807.10221",
            module="smp_networks",
            encoder="resnet18",
        ),
        NetworkSpec(
            "segformer",
            idea="A hierarchical transformer, and a decoder of 1 x 1 convolutions only.",
            when="With pretrained weights: strong for its size, robust against changed contrast and noise.",
            paper="Xie et al. 2021, arXiv:2105.15203",
            module="smp_networks",
            encoder="mit_b0",
            parameters="3.8 M with mit_b0 (paper, table 1, 150 classes)",
        ),
        NetworkSpec(
            "dpt",
            idea="A plain vision transformer whose layers are reassembled into a pyramid.",
            when="With pretrained weights of a large transformer, and a GPU.",
            paper="Ranftl, Bochkovskiy, Koltun 2021, arXiv:2103.13413",
            module="smp_networks",
            encoder="tu-vit_tiny_patch16_224",
        ),
    )
}
