"""What holds for every loss: annotated pixels only, gradients, large numbers, volumes, multilabel, options."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import IN_PLACE, KINDS, NAMES, STEADY, make, one_hot
from torch.nn import functional as F

from napari_segnet.config import RunConfig, TrainConfig, apply_settings
from napari_segnet.data.labels import IGNORE
from napari_segnet.errors import ConfigError
from napari_segnet.training.losses import (
    LOSSES,
    cross_entropy,
    dice_cross_entropy,
    loss_function,
    soft_cross_entropy,
    soft_dice,
)

EVEN = torch.ones(3)
both = pytest.mark.parametrize("kind", KINDS)
every = pytest.mark.parametrize("name", NAMES)
fast = settings(max_examples=8, deadline=None)


def reached(case, name, options=None, **changes):
    """Return the value of a loss and its gradient."""
    logits = changes.pop("logits", case.logits).detach().clone().requires_grad_()
    value = case.loss(name, options, logits=logits, **changes)
    value.backward()
    return float(value.detach()), logits.grad


@both
@every
def test_pixels_without_annotation_have_no_say(name, kind):
    case = make(kind, ignored=0.5, seed=1)
    unknown = case.target == IGNORE
    unknown = unknown if kind == "multilabel" else unknown[:, None].expand_as(case.logits)
    noise = 100 * torch.randn(case.logits.shape, generator=torch.Generator().manual_seed(2))
    value, slope = reached(case, name)
    other, other_slope = reached(case, name, logits=torch.where(unknown, noise, case.logits))
    assert value == pytest.approx(other, rel=1e-5)
    torch.testing.assert_close(slope, other_slope, rtol=1e-4, atol=1e-7)
    assert (slope[unknown] == 0).all()
    assert (slope[~unknown] != 0).any()


@both
@every
def test_nothing_annotated_is_zero_and_not_nan(name, kind):
    case = make(kind)
    value, slope = reached(case, name, target=torch.full_like(case.target, IGNORE))
    assert value == 0
    assert (slope == 0).all()


@both
@every
def test_the_gradient_is_that_of_the_value(name, kind):
    case = make(kind, size=3, batch=1, ignored=0.1, dtype=torch.float64, seed=3)
    weights = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)[: len(case.weights)]
    logits = case.logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: case.loss(name, STEADY.get(name), logits=x, weights=weights), (logits,))


@both
@every
@pytest.mark.parametrize("scale", [1e4, 200.0])
def test_huge_logits_give_finite_values_and_gradients(name, kind, scale):
    case = make(kind, ignored=0.2, seed=4)
    for logits in (scale * case.logits, case.certain(scale), torch.zeros_like(case.logits)):
        for sign in (1, -1):
            value, slope = reached(case, name, logits=sign * logits)
            assert math.isfinite(value)
            assert torch.isfinite(slope).all()


@every
def test_a_plane_is_a_volume_of_one_plane(name):
    case = make("multiclass", ignored=0.3, seed=5)
    deep = case.loss(name, logits=case.logits[:, :, None], target=case.target[:, None])
    assert float(deep) == pytest.approx(float(case.loss(name)), rel=1e-5)


@every
def test_a_single_pixel_is_a_batch(name):
    case = make("multiclass")
    value, slope = reached(case, name, logits=case.logits[:1, :, :1, :1], target=case.target[:1, :1, :1])
    assert math.isfinite(value)
    assert torch.isfinite(slope).all()


@every
def test_one_channel_of_its_own_is_the_second_of_two_classes(name):
    # The sigmoid of z is the softmax of (0, z).
    case = make("binary", seed=6)
    z = case.logits[:, 1:]
    options = {"background": False} if "background" in LOSSES[name].load().model_fields else {}
    softmax = case.loss(name, options, logits=torch.cat([torch.zeros_like(z), z], 1))
    sigmoid = case.loss(name, logits=z, target=case.target[:, None], weights=torch.ones(1))
    assert float(sigmoid) == pytest.approx(float(softmax), rel=1e-5)


@every
def test_memory_layout_and_autocast_change_nothing(name):
    case = make("multiclass", ignored=0.3, seed=7)
    plain = float(case.loss(name))
    laid = case.logits.to(memory_format=torch.channels_last)
    assert float(case.loss(name, logits=laid)) == pytest.approx(plain, rel=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert float(case.loss(name)) == pytest.approx(plain, rel=1e-5)


@both
@every
@fast
@given(seed=st.integers(0, 10_000), ignored=st.sampled_from([0.0, 0.6]))
def test_a_perfect_prediction_is_the_least_that_a_loss_can_be(name, kind, seed, ignored):
    case = make(kind, seed=seed, ignored=ignored)
    perfect = case.certain()
    options = {}
    if name == "active-contour":
        options = {"region": 1e4}  # the outline has a length even where it is right
    if name == "label-smoothing":
        # Its least is where the probabilities are the smoothed target.
        ratio = 0.95 / 0.05 if kind in ("binary", "multilabel") else (0.9 + 0.1 / 3) / (0.1 / 3)
        perfect = perfect.sign() * math.log(ratio) / (1 if kind == "multilabel" else 2)
    value, slope = reached(case, name, options, logits=perfect)
    assert slope.abs().max() < 1e-3
    assert value <= min(float(case.loss(name, options)), float(case.loss(name, options, logits=-perfect))) + 1e-6
    if name not in ("label-smoothing", "active-contour"):
        assert value == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in IN_PLACE])
@fast
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(KINDS))
def test_where_a_pixel_is_does_not_matter(name, seed, kind):
    case = make(kind, seed=seed, ignored=0.3)
    order = torch.randperm(case.logits[0, 0].numel(), generator=torch.Generator().manual_seed(seed))
    logits = case.logits.flatten(2)[..., order].reshape(case.logits.shape)
    lead = 2 if kind == "multilabel" else 1
    target = case.target.flatten(lead)[..., order].reshape(case.target.shape)
    assert float(case.loss(name, logits=logits, target=target)) == pytest.approx(float(case.loss(name)), rel=1e-4)


@every
def test_following_the_gradient_leads_to_the_truth(name):
    target = torch.zeros(1, 16, 16, dtype=torch.int64)
    target[:, 3:9, 3:9] = 1
    target[:, 8:14, 9:15] = 2
    target[:, 12:, :4] = IGNORE
    # The outline has a length even where it is right, which rounds corners off.
    options = {"region": 10} if name == "active-contour" else None
    logits = torch.zeros(1, 3, 16, 16, requires_grad=True)
    steps = torch.optim.Adam([logits], lr=0.3)
    for _ in range(100):
        steps.zero_grad()
        loss_function(name, options)(logits, target, EVEN).backward()
        steps.step()
    right = logits.argmax(1) == target
    assert right[target != IGNORE].all()
    assert (logits.softmax(1)[0, :, 12:, :4] == 1 / 3).all()


@every
def test_multilabel_targets_may_be_of_any_type(name):
    case = make("multilabel", ignored=0.3)
    for kind in (torch.uint8, torch.float32):
        assert float(case.loss(name, target=case.target.to(kind))) == float(case.loss(name))


MEANS_OF_CLASSES = (
    "dice", "dice-squared", "jaccard", "tversky", "focal-tversky", "mcc", "lovasz-softmax", "lovasz-hinge",
    "active-contour", "cldice",
)  # fmt: skip
MEANS_OF_PIXELS = ("ce", "balanced-ce", "bce", "label-smoothing", "focal", "topk", "ohem")


@pytest.mark.parametrize("name", MEANS_OF_CLASSES)
@fast
@given(seed=st.integers(0, 10_000), gone=st.integers(0, 2))
def test_a_class_of_no_weight_leaves_the_mean_over_classes(name, seed, gone):
    case = make("multiclass", seed=seed)
    options = {"background": True}
    only = [float(case.loss(name, options, weights=torch.eye(3)[k])) for k in range(3) if k != gone]
    weights = torch.ones(3)
    weights[gone] = 1e-6
    assert float(case.loss(name, options, weights=weights)) == pytest.approx(np.mean(only), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", MEANS_OF_PIXELS)
@fast
@given(seed=st.integers(0, 10_000), gone=st.integers(0, 2))
def test_pixels_of_a_class_of_no_weight_leave_the_mean_over_pixels(name, seed, gone):
    case = make("multiclass", seed=seed)
    weights = torch.ones(3)
    weights[gone] = 1e-6
    _, slope = reached(case, name, weights=weights)
    mine = (case.target == gone)[:, None].expand_as(slope)
    assert slope[mine].abs().max() < 1e-5 < slope[~mine].abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_class_weights_change_what_is_learned(name):
    case = make("multiclass", seed=8)
    uneven = float(case.loss(name, weights=torch.tensor([1.0, 5.0, 0.2])))
    assert uneven != pytest.approx(float(case.loss(name)), rel=1e-3)
    assert uneven == pytest.approx(float(case.loss(name, weights=torch.tensor([10.0, 50.0, 2.0]))), rel=1e-5)


WEIGHING = [n for n in NAMES if LOSSES[n].load().weighs_pixels]


@both
@pytest.mark.parametrize("name", ["ce", "bce", "label-smoothing", "focal", "topk", "ohem"])
def test_a_pixel_of_no_weight_is_one_without_annotation(name, kind):
    case = make(kind, seed=9)
    kept = torch.ones(case.logits.shape[0], *case.logits.shape[2:])
    kept[:, ..., :3] = 0
    target = case.target.clone()
    target[..., :3] = IGNORE
    # As many hard pixels out of fewer.
    share, same = ({"share": 0.3}, {"share": 0.3 * 4 / 7}) if name in ("topk", "ohem") else ({}, {})
    without = float(case.loss(name, share, target=target))
    assert float(case.loss(name, same, pixel_weights=kept)) == pytest.approx(without, rel=1e-4)


@both
@pytest.mark.parametrize("name", WEIGHING)
def test_pixels_of_equal_weight_are_pixels_without_weights(name, kind):
    case = make(kind, seed=10, ignored=0.2)
    even = torch.full((case.logits.shape[0], *case.logits.shape[2:]), 3.0)
    assert float(case.loss(name, pixel_weights=even)) == pytest.approx(float(case.loss(name)), rel=1e-5)
    even[..., :2] = 0.1
    assert float(case.loss(name, pixel_weights=even)) != pytest.approx(float(case.loss(name)), rel=1e-4)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in WEIGHING])
def test_losses_of_regions_refuse_weights_of_pixels(name):
    case = make("multiclass")
    with pytest.raises(ConfigError, match="can't weigh single pixels"):
        case.loss(name, pixel_weights=torch.ones(2, 6, 7))


@pytest.mark.parametrize(
    ("logits", "target", "pixels", "words"),
    [
        ((2, 3, 8, 8), (2, 8, 9), None, r"target of shape \(2, 8, 9\) doesn't fit"),
        ((2, 3, 8, 8), (2, 2, 8, 8), None, "doesn't fit"),
        ((2, 1, 8, 8), (2, 8, 8), None, "One output"),
        ((2, 3, 8, 8), (2, 8, 8), (2, 3, 8, 8), "Pixel weights of shape"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(logits, target, pixels, words):
    weights = None if pixels is None else torch.ones(pixels)
    with pytest.raises(ConfigError, match=words):
        loss_function("ce")(
            torch.zeros(logits), torch.zeros(target, dtype=torch.int64), torch.ones(logits[1]), pixel_weights=weights
        )


# options and names


def test_a_wrong_name_gets_the_near_ones():
    with pytest.raises(ConfigError, match=r"no loss called 'dise'. Did you mean 'dice'"):
        loss_function("dise")


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Dice", "dice"),
        ("generalized dice", "generalized-dice"),
        ("Focal_Tversky", "focal-tversky"),
        ("dice loss", "dice"),
        ("bce+dice", "bce+dice"),
        ("1+bce-dice", "bce+dice"),
        ("weighted cross-entropy", "ce"),
        ("IoU", "jaccard"),
        ("ce+dice", "dice+ce"),
        ("Lovász-Softmax", "lovasz-softmax"),
    ],
)
def test_names_are_found_as_people_type_them(typed, name):
    assert type(loss_function(typed)) is LOSSES[name].load()


def test_no_two_losses_share_a_name():
    spoken = [n for spec in LOSSES.values() for n in (spec.name, *spec.aliases)]
    assert len(spoken) == len(set(spoken))


def test_an_unknown_option_gets_the_valid_ones():
    with pytest.raises(
        ConfigError, match=r"'tversky' has no option 'gamma'. Its options: alpha, background, beta, smooth"
    ):
        loss_function("tversky", {"gamma": 2})
    with pytest.raises(ConfigError, match=r"alpha = -1: .*greater than or equal to 0"):
        loss_function("tversky", {"alpha": -1})


CHANGED = {
    "alpha": 0.4, "beta": 0.6, "gamma": 1.5, "share": 0.5, "threshold": 0.2, "smooth": 30.0, "smoothing": 0.3,
    "weight": 0.3, "z_spacing": 0.3, "iterations": 1, "dice_weight": 2.0, "focal_weight": 2.0, "lovasz_weight": 2.0,
}  # fmt: skip
BESIDE = {"share": {"threshold": 0.01}, "threshold": {"share": 0.01}}


@every
def test_every_option_is_described_and_changes_the_gradient(name):
    case = make("volume", size=9, seed=11)
    # Blocks of three pixels and three planes, so that there are insides.
    case.target = case.target[:, :, ::3, ::3].repeat_interleave(3, 2).repeat_interleave(3, 3)[..., :10]
    case.target[:, 1] = case.target[:, 0]
    fields = LOSSES[name].load().model_fields
    for option, field in fields.items():
        assert field.description, option
        changed = not field.default if option == "background" else CHANGED.get(option)
        changed = ("ce" if name == "boundary" else 2.0) if option == "region" else changed
        beside = {k: v for k, v in BESIDE.get(option, {}).items() if k in fields}
        slope, other = (reached(case, name, {**beside, **more})[1] for more in ({}, {option: changed}))
        assert (slope - other).norm() > 1e-3 * slope.norm(), option


def test_the_options_travel_in_the_configuration():
    config = apply_settings(RunConfig(), ["train.loss=focal", "train.loss_options.gamma=3"])
    assert config.train.loss_options == {"gamma": 3}
    assert RunConfig.from_json(config.to_json()) == config
    assert loss_function(config.train.loss, config.train.loss_options).gamma == 3
    assert TrainConfig().loss_options == {}


def test_the_catalogue_imports_no_torch():
    code = "import sys; from napari_segnet.training.loss_catalogue import LOSSES; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# the plain ones, which must never change


def test_defaults_are_what_they_always_were():
    case = make("multiclass", size=30, seed=12, ignored=0.4)
    weights = torch.tensor([1.0, 3.0, 0.2])
    known = case.target != IGNORE
    safe = case.target.masked_fill(~known, 0)
    total = F.cross_entropy(case.logits, case.target, weights, ignore_index=IGNORE, reduction="sum")
    ce = total / weights[safe].mul(known).sum().clamp_min(1e-6)
    truth = F.one_hot(safe, 3).permute(0, 3, 1, 2) * known[:, None]
    p = case.logits.softmax(dim=1) * known[:, None]
    overlap, size = (p * truth).sum(dim=(0, 2, 3)), p.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3))
    dice = ((1 - (2 * overlap + 1) / (size + 1)) * weights).sum() / weights.sum()
    assert torch.equal(cross_entropy(case.logits, case.target, weights), ce)
    assert torch.equal(soft_dice(case.logits, case.target, weights), dice)
    assert torch.equal(dice_cross_entropy(case.logits, case.target, weights), ce + dice)
    for name, plain in (("ce", ce), ("dice", dice), ("dice+ce", ce + dice)):
        assert torch.equal(LOSSES[name].compute(case.logits, case.target, weights), plain)


def test_soft_targets_that_are_sure_are_hard_targets():
    for kind in ("multiclass", "volume"):
        case = make(kind)
        sure = one_hot(case.target).float()
        soft = soft_cross_entropy(case.logits, sure, torch.ones(case.target.shape, dtype=torch.bool))
        assert float(soft) == pytest.approx(float(cross_entropy(case.logits, case.target, EVEN)), rel=1e-5)
        nowhere = torch.zeros(case.target.shape, dtype=torch.bool)
        assert float(soft_cross_entropy(case.logits, sure, nowhere)) == 0
