import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from napari_segnet._torch import import_smp
from napari_segnet.data.labels import IGNORE
from napari_segnet.errors import ConfigError
from napari_segnet.training.losses import LOSSES, cross_entropy, loss_function, soft_cross_entropy, soft_dice

EVEN = torch.ones(3)


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 9, generator=generator)
    target = torch.randint(0, 3, (2, 8, 9), generator=generator)
    return logits, target


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_pixels_without_annotation_have_no_say(name, case):
    logits, target = case
    target[:, :4] = IGNORE
    changed = logits.clone()
    changed[:, :, :4] += 100 * torch.randn(2, 3, 4, 9, generator=torch.Generator().manual_seed(1))
    loss = loss_function(name)
    assert loss(logits, target, EVEN) == pytest.approx(float(loss(changed, target, EVEN)), abs=1e-6)
    logits.requires_grad_()
    loss(logits, target, EVEN).backward()
    assert (logits.grad[:, :, :4] == 0).all()
    assert (logits.grad[:, :, 4:] != 0).any()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_nothing_annotated_is_zero_and_not_nan(name, case):
    logits, target = case
    logits.requires_grad_()
    value = loss_function(name)(logits, torch.full_like(target, IGNORE), EVEN)
    value.backward()
    assert float(value) == 0
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_gradient_is_that_of_the_value(name, case):
    logits, target = case
    target[0, 0, 0] = IGNORE
    loss = loss_function(name)
    weights = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    small = logits[:1, :, :2, :2].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, target[:1, :2, :2], weights), (small,))


def test_cross_entropy_agrees_with_scikit_learn(case):
    logits, target = case
    probabilities = logits.softmax(1).permute(0, 2, 3, 1).reshape(-1, 3).double().numpy()
    expected = log_loss(target.ravel().numpy(), probabilities)
    assert float(cross_entropy(logits, target, EVEN)) == pytest.approx(expected, rel=1e-5)
    weights = torch.tensor([1.0, 2.0, 0.5])
    weighted = log_loss(target.ravel(), probabilities, sample_weight=weights[target].ravel())
    assert float(cross_entropy(logits, target, weights)) == pytest.approx(weighted, rel=1e-5)


def test_dice_of_a_hand_computed_case():
    # Two pixels, both of class 0, seen with probability 3/4: Dice = (2 * 1.5 + 1) / (1.5 + 2 + 1) for class 0;
    # class 1 is absent and left out.
    logits = torch.tensor([math.log(3.0), 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 2)
    target = torch.zeros(1, 1, 2, dtype=torch.int64)
    assert float(soft_dice(logits, target, torch.ones(2))) == pytest.approx(1 - 4 / 4.5)


def test_dice_agrees_with_segmentation_models_pytorch(case):
    logits, target = case
    theirs = import_smp().losses.DiceLoss("multiclass", smooth=0.5)(logits, target)
    assert float(soft_dice(logits, target, EVEN)) == pytest.approx(float(theirs), rel=1e-5)


def test_soft_targets_that_are_sure_are_hard_targets(case):
    logits, target = case
    one_hot = torch.nn.functional.one_hot(target, 3).permute(0, 3, 1, 2).float()
    soft = soft_cross_entropy(logits, one_hot, torch.ones(target.shape, dtype=torch.bool))
    assert float(soft) == pytest.approx(float(cross_entropy(logits, target, EVEN)), rel=1e-5)
    assert np.isfinite(float(soft_cross_entropy(logits, one_hot, torch.zeros(target.shape, dtype=torch.bool))))


def test_a_wrong_name_gets_the_near_ones():
    with pytest.raises(ConfigError, match=r"no loss called 'dise'. Did you mean 'dice'"):
        loss_function("dise")
