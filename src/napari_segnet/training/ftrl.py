"""FTRL-Proximal ("follow the regularized leader"), which torch doesn't have.

After McMahan et al. 2013, "Ad click prediction: a view from the trenches", https://doi.org/10.1145/2487575.2488200,
algorithm 1, with the options that Keras gives it. Two things differ, because deep networks need it:

- The paper starts all weights at zero. A network starts from random or trained weights, which are the centre of the
  first proximal term here (`keep_start`). Keras leaves that term centred on zero, so that its first step takes nearly
  all of each weight away.
- The rate may change from step to step. The paper defines the sum of its sigmas as one over the rate of the step;
  so it is here. Keras has the present rate in one place and former ones in another, so that all weights shrink when
  the rate falls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Ftrl(Optimizer):
    """FTRL-Proximal; every weight has a rate of its own.

    With the gradient g of a weight w, the sum n of squared gradients and the rate a, a step is
    q' = (n + g^2)^-power / a; z += g - (q' - q) w; then w = 0 where abs(z) <= l1, and
    w = (sign(z) l1 - z) / (q' + beta / a + 2 l2) elsewhere. Without `l1`, `l2` and `beta` this is Adagrad.

    Parameters
    ----------
    params : iterable
        As for any optimizer. A group's ``weight_decay`` times the weights is added to their gradient.
    lr : float
    power : float
        -1 .. 0; the paper's is -0.5.
    initial_accumulator, l1, l2, beta : float
        Not negative.
    keep_start : bool
        Whether the initial weights are where it starts from. False does as Keras.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        power: float = -0.5,
        initial_accumulator: float = 0.1,
        l1: float = 0.0,
        l2: float = 0.0,
        beta: float = 0.0,
        weight_decay: float = 0.0,
        keep_start: bool = True,
    ) -> None:
        defaults = {"lr": lr, "power": power, "initial_accumulator": initial_accumulator, "l1": l1, "l2": l2}
        super().__init__(params, {**defaults, "beta": beta, "weight_decay": weight_decay, "keep_start": keep_start})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Do one step for every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)
        return loss

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["squares"] = torch.full_like(weight, group["initial_accumulator"])
            state["quadratic"] = state["squares"].pow(-group["power"]) / group["lr"]
            state["linear"] = -weight * state["quadratic"] * group["keep_start"]
        gradient = weight.grad + group["weight_decay"] * weight
        state["squares"].addcmul_(gradient, gradient)
        quadratic = state["squares"].pow(-group["power"]) / group["lr"]
        linear = state["linear"].add_(gradient).sub_((quadratic - state["quadratic"]) * weight)
        state["quadratic"] = quadratic
        # What l1 leaves of z: nothing where it is no larger than l1.
        beyond = linear - linear.clamp(-group["l1"], group["l1"])
        weight.copy_(-beyond / (quadratic + group["beta"] / group["lr"] + 2 * group["l2"]))
