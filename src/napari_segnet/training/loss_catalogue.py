"""The losses that can be chosen by name: a frozen entry each.

The command line, the viewer and the docs list these entries; the code behind one is imported when it is used. This
module imports no torch.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_segnet.errors import unknown_name

if TYPE_CHECKING:
    from napari_segnet.training.losses.base import SegmentationLoss


@dataclass(frozen=True)
class LossSpec:
    """A loss that can be chosen by name.

    Attributes
    ----------
    name : str
    idea : str
        What it does, and what it is good for.
    paper : str
        Authors, year, and where to find it.
    module, loss : str
        Module in ``training.losses`` and name of the class in it; the fields of the class are its options.
    aliases : tuple of str
        Other names that people type.
    """

    name: str
    idea: str
    paper: str
    module: str
    loss: str
    aliases: tuple[str, ...] = ()

    def load(self) -> type[SegmentationLoss]:
        """Import the class of the loss, and torch with it."""
        module = importlib.import_module(f"napari_segnet.training.losses.{self.module}")
        loss: type[SegmentationLoss] = getattr(module, self.loss)
        return loss

    @property
    def compute(self) -> SegmentationLoss:
        """The loss with its options as they are."""
        return self.load()()


_BERMAN = "Berman, Triki, Blaschko 2018, arXiv:1705.08790"
_MILLETARI = "Milletari, Navab, Ahmadi 2016, arXiv:1606.04797"

LOSSES: dict[str, LossSpec] = {
    spec.name: spec
    for spec in (
        LossSpec(
            "dice+ce",
            "Soft Dice plus cross-entropy: steady, and good for uneven classes.",
            "Isensee et al. 2021, doi:10.1038/s41592-020-01008-z",
            "sums",
            "DiceCrossEntropy",
            ("ce+dice", "dice-ce", "dicece"),
        ),
        # means over pixels
        LossSpec(
            "ce",
            "Cross-entropy: calibrated probabilities.",
            "-",
            "pixel",
            "CrossEntropy",
            ("cross-entropy", "categorical-crossentropy", "weighted-ce", "weighted-cross-entropy", "wce"),
        ),
        LossSpec(
            "balanced-ce",
            "Cross-entropy in which each class of a batch has the same say: rare classes, thin lines.",
            "Xie, Tu 2015, arXiv:1504.06375",
            "pixel",
            "BalancedCrossEntropy",
            ("balanced-cross-entropy",),
        ),
        LossSpec(
            "bce",
            "Binary cross-entropy, each class against the rest; of two classes the same as ce.",
            "-",
            "pixel",
            "BinaryCrossEntropy",
            ("binary-crossentropy", "binary-cross-entropy"),
        ),
        LossSpec(
            "label-smoothing",
            "Cross-entropy that is content with nine tenths of certainty: labels with mistakes in them.",
            "Szegedy et al. 2016, arXiv:1512.00567",
            "pixel",
            "LabelSmoothing",
            ("ce-smooth", "smooth-ce", "label-smoothing-ce"),
        ),
        LossSpec(
            "focal",
            "Cross-entropy that counts easy pixels less: few hard pixels among many easy ones.",
            "Lin et al. 2017, arXiv:1708.02002",
            "pixel",
            "Focal",
        ),
        LossSpec(
            "topk",
            "Cross-entropy of the tenth of pixels on which it is largest.",
            "Wu, Shen, van den Hengel 2016, arXiv:1605.06885",
            "pixel",
            "TopK",
            ("top-k", "topk-ce"),
        ),
        LossSpec(
            "ohem",
            "Cross-entropy of the pixels whose right class is less likely than 0.7 (online hard-pixel mining).",
            "Shrivastava, Gupta, Girshick 2016, arXiv:1604.03540",
            "pixel",
            "OnlineHardPixels",
            ("online-hard-example-mining",),
        ),
        # regions
        LossSpec("dice", "Soft Dice: optimizes the overlap itself.", _MILLETARI, "region", "Dice", ("soft-dice", "f1")),
        LossSpec(
            "dice-squared",
            "Soft Dice with squares below the fraction: pulls less on pixels that are nearly right.",
            _MILLETARI,
            "region",
            "SquaredDice",
            ("squared-dice",),
        ),
        LossSpec(
            "generalized-dice",
            "One Dice over all classes, each weighed by one over its size squared: tiny classes beside huge ones.",
            "Sudre et al. 2017, arXiv:1707.03237",
            "region",
            "GeneralizedDice",
            ("generalised-dice", "gdl"),
        ),
        LossSpec(
            "jaccard",
            "Soft intersection over union.",
            "Rahman, Wang 2016, doi:10.1007/978-3-319-50835-1_22",
            "region",
            "Jaccard",
            ("iou",),
        ),
        LossSpec(
            "tversky",
            "Overlap in which what is missed weighs more than what is too much: small lesions.",
            "Salehi, Erdogmus, Gholipour 2017, arXiv:1706.05721",
            "region",
            "Tversky",
        ),
        LossSpec(
            "focal-tversky",
            "Tversky that keeps pulling on classes that are nearly right.",
            "Abraham, Khan 2019, arXiv:1810.07842",
            "region",
            "FocalTversky",
        ),
        LossSpec(
            "mcc",
            "Matthews' correlation: true negatives count too, for objects of any size.",
            "Abhishek, Hamarneh 2021, arXiv:2010.13454",
            "region",
            "MatthewsCorrelation",
            ("matthews",),
        ),
        LossSpec(
            "lovasz-softmax",
            "The IoU of hard predictions made continuous, at softmax probabilities.",
            _BERMAN,
            "lovasz",
            "LovaszSoftmax",
            ("lovasz", "lovász-softmax"),
        ),
        LossSpec(
            "lovasz-hinge",
            "The same at hinge losses of the logits: one class against the rest.",
            _BERMAN,
            "lovasz",
            "LovaszHinge",
            ("lovász-hinge",),
        ),
        # outlines and shapes
        LossSpec(
            "boundary",
            "Generalized Dice plus the distance between outlines: things of which there is very little.",
            "Kervadec et al. 2019, arXiv:1812.07032",
            "distance",
            "Boundary",
            ("surface",),
        ),
        LossSpec(
            "hausdorff",
            "Dice plus errors weighed by their distance from the outline: no far-off islands.",
            "Karimi, Salcudean 2019, arXiv:1904.10030",
            "distance",
            "Hausdorff",
            ("hausdorff-distance", "hausdorff-dt"),
        ),
        LossSpec(
            "active-contour",
            "Length of the outline plus the error inside and outside: smooth shapes.",
            "Chen et al. 2019, CVPR, pages 11632-11640",
            "shape",
            "ActiveContour",
        ),
        LossSpec(
            "cldice",
            "Dice plus overlap of centre lines: vessels, roots and roads stay in one piece.",
            "Shit et al. 2021, arXiv:2003.07311",
            "shape",
            "CenterlineDice",
            ("centerline-dice", "cl-dice"),
        ),
        # sums
        LossSpec(
            "bce+dice",
            "Binary cross-entropy plus soft Dice (1 + BCE - Dice); of two classes the same as dice+ce.",
            "-",
            "sums",
            "BinaryCrossEntropyDice",
            ("dice+bce", "bce-dice", "1+bce-dice"),
        ),
        LossSpec(
            "bce-log-dice",
            "Binary cross-entropy minus the logarithm of Dice: pulls hard while there is no overlap.",
            "-",
            "sums",
            "BinaryCrossEntropyLogDice",
            ("bce-log(dice)",),
        ),
        LossSpec(
            "combo",
            "Dice plus a cross-entropy in which positives and negatives can weigh differently.",
            "Taghanaki et al. 2019, arXiv:1805.02798",
            "sums",
            "Combo",
        ),
        LossSpec(
            "focal+lovasz",
            "Focal plus Lovász-softmax: hard pixels, and the IoU itself.",
            f"Lin et al. 2017, arXiv:1708.02002; {_BERMAN}",
            "sums",
            "FocalLovasz",
            ("lovasz+focal",),
        ),
        LossSpec(
            "bce+dice+focal",
            "Binary cross-entropy, soft Dice and focal together, as in many winning entries of competitions.",
            "-",
            "sums",
            "BinaryCrossEntropyDiceFocal",
            ("dice+bce+focal", "bce+focal+dice"),
        ),
    )
}

_ALIASES = {alias: spec.name for spec in LOSSES.values() for alias in spec.aliases}


def loss_spec(name: str) -> LossSpec:
    """Return the entry called `name`; capitals, and spaces or underscores for hyphens, don't matter.

    Raises
    ------
    ConfigError
        With near names, if there is none.
    """
    written = "-".join(name.lower().replace("_", " ").split()).removesuffix("-loss")
    try:
        return LOSSES[_ALIASES.get(written, written)]
    except KeyError:
        raise unknown_name("loss", name, LOSSES) from None
