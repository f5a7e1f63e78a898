"""Optimizers by name, with the options of each.

A new optimizer is one class of options with `build`, and one entry in `OPTIMIZERS`. Nothing here imports torch
before an optimizer is built: presets look up what learning rate goes with which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from napari_segnet.config import Frozen, validated
from napari_segnet.errors import unknown_name

if TYPE_CHECKING:
    from torch.optim import Optimizer

Groups = list[dict[str, Any]]


class OptimizerOptions(Frozen):
    """Base of the options of an optimizer, for ``--set train.optimizer_options.NAME=VALUE``."""

    def build(self, groups: Groups, rate: float) -> Optimizer:
        """Make the optimizer for groups of parameters, each with its own ``weight_decay``."""
        raise NotImplementedError


class SgdOptions(OptimizerOptions):
    """Options of stochastic gradient descent."""

    momentum: float = Field(0.9, ge=0, lt=1, description="Share of the last step that is done again.")
    nesterov: bool = Field(True, description="Take the gradient where the momentum leads to.")

    def build(self, groups: Groups, rate: float) -> Optimizer:
        """Make the optimizer."""
        from torch.optim import SGD

        return SGD(groups, lr=rate, momentum=self.momentum, nesterov=self.nesterov and self.momentum > 0)


class _AdamOptions(OptimizerOptions):
    beta1: float = Field(0.9, ge=0, lt=1, description="Memory of the mean of the gradients.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Memory of the size of the gradients.")
    eps: float = Field(1e-8, gt=0, le=1, description="Added to the size, which may be zero.")

    def shared(self) -> dict[str, Any]:
        """Return the arguments that torch's optimizers of this family have in common."""
        return {"betas": (self.beta1, self.beta2), "eps": self.eps}


class AdamOptions(_AdamOptions):
    """Options of Adam."""

    amsgrad: bool = Field(False, description="Divide by the largest size so far (Reddi et al. 2018).")

    def build(self, groups: Groups, rate: float) -> Optimizer:
        """Make the optimizer."""
        from torch.optim import Adam

        return Adam(groups, lr=rate, amsgrad=self.amsgrad, **self.shared())


class AdamWOptions(AdamOptions):
    """Options of AdamW."""

    def build(self, groups: Groups, rate: float) -> Optimizer:
        """Make the optimizer."""
        from torch.optim import AdamW

        return AdamW(groups, lr=rate, amsgrad=self.amsgrad, **self.shared())


class NAdamOptions(_AdamOptions):
    """Options of NAdam."""

    momentum_decay: float = Field(4e-3, ge=0, le=1, description="How soon the momentum reaches beta1.")

    def build(self, groups: Groups, rate: float) -> Optimizer:
        """Make the optimizer."""
        from torch.optim import NAdam

        decay = self.momentum_decay
        return NAdam(groups, lr=rate, momentum_decay=decay, decoupled_weight_decay=True, **self.shared())


class RAdamOptions(_AdamOptions):
    """Options of RAdam."""

    def build(self, groups: Groups, rate: float) -> Optimizer:
        """Make the optimizer."""
        from torch.optim import RAdam

        return RAdam(groups, lr=rate, decoupled_weight_decay=True, **self.shared())


class AdamaxOptions(_AdamOptions):
    """Options of Adamax."""

    def build(self, groups: Groups, rate: float) -> Optimizer:
        """Make the optimizer."""
        from torch.optim import Adamax

        return Adamax(groups, lr=rate, **self.shared())


class AdagradOptions(OptimizerOptions):
    """Options of Adagrad."""

    initial_accumulator: float = Field(0.0, ge=0, le=100, description="Sum of squares to start from.")
    eps: float = Field(1e-10, gt=0, le=1, description="Added to the root of the sum, which may be zero.")

    def build(self, groups: Groups, rate: float) -> Optimizer:
        """Make the optimizer."""
        from torch.optim import Adagrad

        return Adagrad(groups, lr=rate, initial_accumulator_value=self.initial_accumulator, eps=self.eps)


class AdadeltaOptions(OptimizerOptions):
    """Options of Adadelta."""

    rho: float = Field(0.9, ge=0, lt=1, description="Memory of the sizes of gradients and of steps.")
    eps: float = Field(1e-6, gt=0, le=1, description="Added to both sizes: the first steps are of this size.")

    def build(self, groups: Groups, rate: float) -> Optimizer:
        """Make the optimizer."""
        from torch.optim import Adadelta

        return Adadelta(groups, lr=rate, rho=self.rho, eps=self.eps)


class RmspropOptions(OptimizerOptions):
    """Options of RMSprop."""

    rho: float = Field(0.9, ge=0, lt=1, description="Memory of the size of the gradients.")
    momentum: float = Field(0.0, ge=0, lt=1, description="Share of the last step that is done again.")
    centered: bool = Field(False, description="Take the spread of the gradients instead of their size.")
    eps: float = Field(1e-7, gt=0, le=1, description="Added to the size, which may be zero.")

    def build(self, groups: Groups, rate: float) -> Optimizer:
        """Make the optimizer."""
        from torch.optim import RMSprop

        return RMSprop(groups, lr=rate, alpha=self.rho, eps=self.eps, momentum=self.momentum, centered=self.centered)


class FtrlOptions(OptimizerOptions):
    """Options of FTRL-Proximal; defaults are Keras'."""

    power: float = Field(-0.5, ge=-1, le=0, description="How rates fall with the squares seen; 0: not at all.")
    initial_accumulator: float = Field(0.1, ge=0, le=100, description="Sum of squares to start from.")
    l1: float = Field(0.0, ge=0, le=1000, description="Pulls weights to exactly zero.")
    l2: float = Field(0.0, ge=0, le=1000, description="Pulls weights towards zero.")
    beta: float = Field(0.0, ge=0, le=1000, description="Smaller first steps; the paper's beta.")

    def build(self, groups: Groups, rate: float) -> Optimizer:
        """Make the optimizer."""
        from napari_segnet.training.ftrl import Ftrl

        return Ftrl(groups, lr=rate, **self.model_dump())


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer that can be chosen by name.

    Attributes
    ----------
    name, idea, paper : str
    options : type of OptimizerOptions
    rate : float
        Learning rate that suits it, in units of the one that suits AdamW: presets choose with it.
    decay : float
        Weight decay where none was asked for. AdamW, NAdam and RAdam shrink the weights themselves (Loshchilov and
        Hutter 2019, arXiv:1711.05101); the others add the weights to the gradient, where a decay of AdamW's size
        would outweigh it.
    """

    name: str
    idea: str
    paper: str
    options: type[OptimizerOptions]
    rate: float = 1.0
    decay: float = 0.0

    def read(self, options: Mapping[str, Any]) -> OptimizerOptions:
        """Check options; raises `ConfigError` for one that this optimizer doesn't have, or a value it can't take."""
        return validated(self.options, dict(options))


_KINGMA = "Kingma, Ba 2015, arXiv:1412.6980"

OPTIMIZERS: dict[str, OptimizerSpec] = {
    spec.name: spec
    for spec in (
        OptimizerSpec("adamw", "Adam whose weight decay is not mixed with the gradient: the default.",
                      "Loshchilov, Hutter 2019, arXiv:1711.05101", AdamWOptions, decay=1e-2),
        OptimizerSpec("adam", "Steps of even size for all weights, from running means of gradients and squares.",
                      _KINGMA, AdamOptions),
        OptimizerSpec("nadam", "Adam with Nesterov's look ahead.",
                      "Dozat 2016, openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ", NAdamOptions, decay=1e-2),
        OptimizerSpec("radam", "Adam that waits until it knows the size of the gradients: a warm-up of its own.",
                      "Liu et al. 2020, arXiv:1908.03265", RAdamOptions, rate=3, decay=1e-2),
        OptimizerSpec("adamax", "Adam with the largest gradient instead of the mean square: steady with outliers.",
                      _KINGMA, AdamaxOptions, rate=2),
        OptimizerSpec("sgd", "Gradient descent with Nesterov momentum: slower, and often the best in the end.",
                      "Sutskever et al. 2013, proceedings.mlr.press/v28/sutskever13", SgdOptions,
                      rate=10, decay=1e-4),
        OptimizerSpec("rmsprop", "Divides by the running size of the gradients.",
                      "Tieleman, Hinton 2012, lecture 6e of Neural Networks for Machine Learning", RmspropOptions),
        OptimizerSpec("adagrad", "Rates that fall for each weight with what it has seen: rare features keep theirs.",
                      "Duchi, Hazan, Singer 2011, jmlr.org/papers/v12/duchi11a", AdagradOptions, rate=10),
        OptimizerSpec("adadelta", "Steps in the units of the weights: the rate hardly matters.",
                      "Zeiler 2012, arXiv:1212.5701", AdadeltaOptions, rate=1000),
        OptimizerSpec("ftrl", "Follows the regularized leader: with l1 many weights become exactly zero.",
                      "McMahan et al. 2013, doi:10.1145/2487575.2488200", FtrlOptions, rate=20),
    )
}  # fmt: skip


def optimizer_spec(name: str) -> OptimizerSpec:
    """Return the entry called `name` (capitals don't matter); raises `ConfigError` with near names."""
    try:
        return OPTIMIZERS[name.lower()]
    except KeyError:
        raise unknown_name("optimizer", name, OPTIMIZERS) from None
