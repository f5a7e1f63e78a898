"""The networks that can be chosen by name: a frozen entry each.

The command line, the viewer and the docs list these entries; the code behind one is imported when it is built.
This module imports no torch.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

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
    axes : {"YX", "ZYX"}
        Whether it maps planes or volumes.
    parameters : str
        What the paper or the reference implementation says of its size, and where.
    """

    name: str
    idea: str
    when: str
    paper: str
    module: str
    encoder: str = ""
    axes: Literal["YX", "ZYX"] = "YX"
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


_BADRINARAYANAN = "Badrinarayanan, Kendall, Cipolla 2017, arXiv:1511.00561"
_JEGOU = "Jegou, Drozdzal, Vazquez, Romero, Bengio 2017, arXiv:1611.09326"
_LONG = "Long, Shelhamer, Darrell 2015, arXiv:1411.4038; Shelhamer, Long, Darrell 2017, arXiv:1605.06211"
_RONNEBERGER = "Ronneberger, Fischer, Brox 2015, arXiv:1505.04597"
_LECTURE = "Qayyum, Segmentation Models (lecture, University of Burgundy)"
_YU_KOLTUN = "Yu and Koltun 2016, arXiv:1511.07122"

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
        NetworkSpec(
            "unet-original",
            idea="U-Net as published: valid convolutions, mirrored borders, 64 to 1024 channels, no normalization.",
            when="To repeat the paper; a GPU. With batch normalization, as in plain-unet, learning is much easier.",
            paper=_RONNEBERGER,
            module="original_unet",
            parameters="31,030,658 with one channel and two classes (sum over figure 1 of the paper)",
        ),
        NetworkSpec(
            "imageseg-unet",
            idea="The U-Net of the R packages imageseg and platypus: padded, batch normalization, 16 filters.",
            when="To go on with what was made in R, or for a small U-Net with dropout.",
            paper="Niedballa et al. 2022, doi:10.1111/2041-210X.13984; github.com/maju116/platypus",
            module="imageseg",
            parameters="2,164,627 with RGB and 3 classes, 2,161,683 of them learned (Keras' summary of platypus)",
        ),
        NetworkSpec(
            "imageseg-unetplusplus",
            idea="The U-Net++ of the R package imageseg, whose nodes join features without convolving them.",
            when="To go on with what was made in R; else unetplusplus is the better U-Net++.",
            paper="Niedballa et al. 2022, doi:10.1111/2041-210X.13984; Zhou et al. 2018, arXiv:1807.10165",
            module="imageseg",
            parameters="1,899,827 with RGB and 3 classes, 1,897,011 of them learned (Keras, counted)",
        ),
        NetworkSpec(
            "workshop-unet",
            idea="The simple Keras U-Net of courses: 16 to 256 filters, dropout everywhere, no normalization.",
            when="To repeat a course or workshop; small, but slow to learn without normalization.",
            paper=f"{_RONNEBERGER}; K. Amdal-Saevik's kernel of the 2018 Data Science Bowl",
            module="workshop_unet",
            parameters="1,941,105 with three channels and one output (Keras' summary)",
        ),
        # newer U-Nets
        NetworkSpec(
            "attention-unet",
            idea="U-Net whose skip connections pass gates that the decoder opens where it looks.",
            when="Small things in large images, such as organs or lesions; a GPU.",
            paper="Oktay et al. 2018, arXiv:1804.03999",
            module="attention_unet",
            parameters="6.40 M in 3D with a first width of 16 (paper); 34.9 M in 2D (LeeJunHyun/Image_Segmentation)",
        ),
        NetworkSpec(
            "r2unet",
            idea="U-Net whose convolutions see their own answer again, with the same weights: deep, but not larger.",
            when="Thin structures such as vessels; a GPU: it computes more than twice what a U-Net does.",
            paper="Alom et al. 2018, arXiv:1802.06955",
            module="r2unet",
            parameters="39.1 M (LeeJunHyun/Image_Segmentation, t = 2)",
        ),
        NetworkSpec(
            "unet3plus",
            idea="U-Net whose decoder stages each join the features of all resolutions.",
            when="The same thing at many sizes, a GPU with much memory, and time.",
            paper="Huang et al. 2020 (UNet 3+), arXiv:2004.08790",
            module="unet3plus",
            parameters="26.97 M (paper, table 1, 1 class)",
        ),
        NetworkSpec(
            "unext",
            idea="Few convolutions, and channels that are shifted and mixed at coarse levels: very little to compute.",
            when="Large images without a GPU, where speed matters more than fine outlines.",
            paper="Valanarasu and Patel 2022, arXiv:2203.04967",
            module="unext",
            parameters="1.47 M (paper, table 1)",
        ),
        NetworkSpec(
            "dynamic-unet",
            idea="U-Net on any encoder, with sub-pixel upsampling, and the input's pixels joined at the end.",
            when="With pretrained weights, where fine detail counts; the network of fastai's courses.",
            paper="Howard and Gugger 2020, arXiv:2002.04688; Aitken et al. 2017, arXiv:1707.02937",
            module="dynamic_unet",
            encoder="resnet34",
            parameters="41.2 M with resnet34 and 2 classes (counted over fastai's layers)",
        ),
        # MONAI: networks for volumes
        NetworkSpec(
            "unet3d",
            idea="U-Net with three-dimensional convolutions, instance normalization and five levels.",
            when="Volumes whose voxels are about as long in all directions, also with a few annotated planes.",
            paper="Cicek et al. 2016, arXiv:1606.06650; Falk et al. 2019, doi:10.1038/s41592-018-0261-2",
            module="monai_networks",
            axes="ZYX",
            parameters="19.07 M with the paper's wider levels and fewer of them (section 2)",
        ),
        NetworkSpec(
            "vnet",
            idea="Residual levels with 5 x 5 x 5 convolutions, and strided convolutions instead of pooling.",
            when="Organs in CT and MR; a GPU with much memory.",
            paper="Milletari, Navab, Ahmadi 2016, arXiv:1606.04797",
            module="monai_networks",
            axes="ZYX",
        ),
        NetworkSpec(
            "attention-unet3d",
            idea="3D U-Net whose skip connections are weighed by attention gates.",
            when="Small organs in large volumes.",
            paper="Oktay et al. 2018, arXiv:1804.03999",
            module="monai_networks",
            axes="ZYX",
        ),
        NetworkSpec(
            "segresnet",
            idea="Asymmetric: a large residual encoder, a small decoder, group normalization.",
            when="Tumours and large volumes with batches of one.",
            paper="Myronenko 2018, arXiv:1810.11654 (without its variational branch)",
            module="monai_networks",
            axes="ZYX",
        ),
        NetworkSpec(
            "dynunet",
            idea="nnU-Net's network: plain levels, strided convolutions; kernels and strides follow the voxel size.",
            when="Volumes whose planes lie further apart than their pixels, and whenever in doubt.",
            paper="Isensee et al. 2021, doi:10.1038/s41592-020-01008-z",
            module="monai_networks",
            axes="ZYX",
        ),
        NetworkSpec(
            "swinunetr",
            idea="A shifted-window transformer as encoder of a convolutional decoder.",
            when="Large sets of volumes and a large GPU; patches of 64 voxels and more.",
            paper="Hatamizadeh et al. 2022, arXiv:2201.01266",
            module="monai_networks",
            axes="ZYX",
            parameters="61.98 M with width 48 (paper, table 3)",
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
        # SegNet
        NetworkSpec(
            "segnet",
            idea="VGG16 and its mirror image, which puts values back to where pooling found them.",
            when="Scenes of many classes with sharp outlines, where U-Net takes too much memory.",
            paper=_BADRINARAYANAN,
            module="segnet",
            encoder="vgg16_bn",
            parameters="14.7 M in the encoder (paper, section 3); 29.4 M in all with the layers of the authors' model",
        ),
        NetworkSpec(
            "segnet-basic",
            idea="SegNet with four levels, 64 features everywhere and convolutions of 7 x 7 pixels.",
            when="A small SegNet to learn from scratch.",
            paper=_BADRINARAYANAN,
            module="segnet",
            parameters="1.425 M (paper, table 1, 11 classes); 1.416 M with the layers that the paper gives",
        ),
        NetworkSpec(
            "vgg-segnet",
            idea="VGG16 up to its fourth pooling, and a light decoder without skip connections or indices.",
            when="To repeat what courses and tutorials do with Keras; it answers at half the resolution.",
            paper="Gupta 2017, github.com/divamgupta/image-segmentation-keras",
            module="segnet",
            encoder="vgg16",
            parameters="11.5 M (sum over the layers of the Keras package)",
        ),
        # Fully convolutional networks
        NetworkSpec(
            "fcn-32s",
            idea="VGG16's classifier slides over the image; its scores are upsampled 32 times.",
            when="As a baseline, or where only the rough place matters.",
            paper=_LONG,
            module="fcn",
            encoder="vgg16",
            parameters="134 M (paper 2015, table 1, 21 classes)",
        ),
        NetworkSpec(
            "fcn-16s",
            idea="FCN-32s, with the scores of a map of twice the resolution added.",
            when="As a baseline between fcn-32s and fcn-8s.",
            paper=_LONG,
            module="fcn",
            encoder="vgg16",
            parameters="134 M (paper 2015, table 1, 21 classes)",
        ),
        NetworkSpec(
            "fcn-8s",
            idea="FCN-16s, with the scores of a map of four times the resolution added: the finest of the three.",
            when="As the baseline that most papers compare with; large things, and pretrained weights.",
            paper=_LONG,
            module="fcn",
            encoder="vgg16",
            parameters="134 M (paper 2015, table 1, 21 classes)",
        ),
        # FC-DenseNet
        NetworkSpec(
            "fc-densenet56",
            idea="A U-Net of dense blocks: every layer sees all layers before it, and adds 12 channels.",
            when="Few images and no pretrained weights: the fewest parameters of the three.",
            paper=_JEGOU,
            module="fc_densenet",
            parameters="1.5 M (paper, 11 classes); 1.4 M with the widths that the paper gives",
        ),
        NetworkSpec(
            "fc-densenet67",
            idea="FC-DenseNet with five layers a block that add 16 channels each.",
            when="Where fc-densenet56 is too small, and a GPU is there.",
            paper=_JEGOU,
            module="fc_densenet",
            parameters="3.5 M (paper, 11 classes)",
        ),
        NetworkSpec(
            "fc-densenet103",
            idea='The "One Hundred Layers Tiramisu": FC-DenseNet with up to 15 layers a block.',
            when="Scenes without pretrained weights, a GPU with much memory, and time.",
            paper=_JEGOU,
            module="fc_densenet",
            parameters="9.4 M (paper, 11 classes)",
        ),
        # DeepLab and dilated networks on VGG16
        NetworkSpec(
            "deeplab-largefov",
            idea="VGG16 that keeps 1/8 of the resolution, and a classifier that looks far by dilation.",
            when="To compare with the first DeepLab; with pretrained weights, for large things.",
            paper="Chen, Papandreou, Kokkinos, Murphy, Yuille 2015, arXiv:1412.7062",
            module="deeplab_vgg",
            encoder="vgg16",
            parameters="20.5 M (paper, table 2)",
        ),
        NetworkSpec(
            "deeplabv2",
            idea="Four dilated classifiers side by side look at the same place at four scales.",
            when="With pretrained weights, for things of very different sizes; deeplabv3 is its successor.",
            paper="Chen, Papandreou, Kokkinos, Murphy, Yuille 2018, arXiv:1606.00915",
            module="deeplab_vgg",
            encoder="vgg16",
            parameters="37.9 M for 21 classes (sum of its layers; the paper says none)",
        ),
        NetworkSpec(
            "dilation-frontend",
            idea="VGG16 without its last two poolings, with all of its classifier, at 1/8 of the resolution.",
            when="With pretrained weights and a GPU with much memory; the simplest of the dilated networks.",
            paper=_YU_KOLTUN,
            module="dilation",
            encoder="vgg16",
            parameters="134.3 M for 21 classes (sum of its layers; the paper says none)",
        ),
        NetworkSpec(
            "dilation-basic",
            idea="The front end, and eight dilated layers that gather context around its scores.",
            when="Scenes where the surroundings decide; hardly slower than the front end.",
            paper=_YU_KOLTUN,
            module="dilation",
            encoder="vgg16",
            parameters="134.4 M for 21 classes, of them 28 thousand in the context module (sum of its layers)",
        ),
        NetworkSpec(
            "dilation-large",
            idea="The front end, and a context module that widens as it looks further.",
            when="As dilation-basic, with more to learn from.",
            paper=_YU_KOLTUN,
            module="dilation",
            encoder="vgg16",
            parameters="141.1 M for 21 classes, of them 6.8 M in the context module (sum of its layers)",
        ),
        # The U-Nets of a lecture, and the two that it cites
        NetworkSpec(
            "resnet50-unet",
            idea="ResNet50 as encoder, and a decoder with one convolution a stage.",
            when="With pretrained weights: half the work of unet's decoder, where outlines need not be sharp.",
            paper=_LECTURE,
            module="lecture_unets",
            encoder="resnet50",
        ),
        NetworkSpec(
            "se-resnet-unet",
            idea="ResNet50 U-Net whose encoder and decoder weigh their channels by what is in the whole patch.",
            when="With pretrained weights, where what a place is depends on what else is in the image.",
            paper=f"{_LECTURE}; Hu et al. 2018, arXiv:1709.01507",
            module="lecture_unets",
            encoder="se_resnet50",
        ),
        NetworkSpec(
            "densenet-unet",
            idea="DenseNet121 as encoder, and a decoder with one convolution before and one behind each join.",
            when="With pretrained weights and a GPU: nuclei and other small objects that touch.",
            paper=f"{_LECTURE}; Huang et al. 2017, arXiv:1608.06993",
            module="lecture_unets",
            encoder="densenet121",
        ),
        NetworkSpec(
            "xception-resunet",
            idea="Xception as encoder, and a decoder of residual blocks and transposed convolutions.",
            when="With pretrained weights and a GPU, for shapes that vary much, such as organs and lesions.",
            paper=f"{_LECTURE}; Chollet 2017, arXiv:1610.02357",
            module="lecture_unets",
            encoder="xception",
        ),
        NetworkSpec(
            "efficientnet-resunet",
            idea="EfficientNet-B4 as encoder, and a decoder of residual blocks and transposed convolutions.",
            when="With pretrained weights: of these five networks' encoders it is the most accurate on ImageNet.",
            paper=f"{_LECTURE}; Tan and Le 2019, arXiv:1905.11946",
            module="lecture_unets",
            encoder="efficientnet-b4",
        ),
        NetworkSpec(
            "inception-unet",
            idea="Each block looks at 1, 3 and 5 pixels and at pooled features; pooling keeps low frequencies, too.",
            when="Nuclei and cells of very different sizes, without pretrained weights.",
            paper="Punn and Agarwal 2020, doi:10.1145/3376922",
            module="inception_unet",
            parameters="3.63 M (sum of the paper's table 1, one class)",
        ),
        NetworkSpec(
            "dense-inception-unet",
            idea="Residual inception blocks, and dense blocks of many thin inceptions where the resolution is low.",
            when="Medical images without pretrained weights, a GPU, and time: it is deep.",
            paper="Zhang, Wu, Coleman, Kerr 2020, doi:10.1016/j.cmpb.2020.105395",
            module="dense_inception_unet",
        ),
    )
}
