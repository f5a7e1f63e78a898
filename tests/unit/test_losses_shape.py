"""Distances, outlines and centre lines, against values computed by hand, brute force and MONAI."""

import importlib

import numpy as np
import pytest
import torch
from loss_cases import make, one_hot
from skimage.draw import disk, line

from napari_segnet.data.labels import IGNORE
from napari_segnet.training.losses import loss_function
from napari_segnet.training.losses.distance import distance_to_others
from napari_segnet.training.losses.shape import soft_skeleton

monai = importlib.import_module("monai.losses")
KINDS = ("multiclass", "volume")


def strip(target, probabilities):
    """Return logits and target (1, 1, X) of one row of pixels; probabilities are those of class 1."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    logits = torch.stack([torch.zeros_like(p), torch.log(p / (1 - p))])[None, :, None]
    return logits, torch.tensor(target)[None, None], torch.ones(2, dtype=torch.float64)


ONE = torch.tensor([0.0, 1.0], dtype=torch.float64)


def test_boundary_by_hand():
    logits, target, _ = strip([0, 0, 1, 1, 1], [0.1, 0.4, 0.6, 0.7, 0.9])
    # Signed distances of class 1: 2, 1, 0, -1, -2; of p - g: 0.1, 0.4, -0.4, -0.3, -0.1.
    expected = (2 * 0.1 + 0.4 + 0.3 + 2 * 0.1) / 5
    alone = loss_function("boundary", {"weight": 1, "region": "none"})
    assert float(alone(logits, target, ONE)) == pytest.approx(expected)
    region = float(loss_function("generalized-dice")(logits, target, ONE))
    assert float(loss_function("boundary")(logits, target, ONE)) == pytest.approx(region + 0.01 * expected)


def test_boundary_without_annotation_in_between():
    logits, target, _ = strip([0, IGNORE, IGNORE, 1, 1, IGNORE], [0.1, 0.9, 0.9, 0.7, 0.9, 0.9])
    # Three pixels are known; the outline is between the first and the fourth: distances 3, -2, -3.
    expected = (3 * 0.1 + 2 * 0.3 + 3 * 0.1) / 3
    alone = loss_function("boundary", {"weight": 1, "region": "none"})
    assert float(alone(logits, target, ONE)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_boundary_agrees_with_monai(kind):
    case = make(kind, size=9)
    theirs = monai.BoundaryLoss(softmax=True, to_onehot_y=True)
    # It leaves the constant out: what the truth itself gives.
    constant = monai.BoundaryLoss(to_onehot_y=True)(one_hot(case.target).float(), case.target[:, None])
    expected = float(theirs(case.logits, case.target[:, None]) - constant)
    ours = case.loss("boundary", {"weight": 1, "region": "none"})
    assert float(ours) == pytest.approx(expected, rel=1e-4)


def test_an_image_without_an_outline_says_nothing_about_it():
    case = make("binary")
    case.target[0] = 1
    case.target[1] = 0
    assert float(case.loss("boundary", {"weight": 1, "region": "none"})) == 0


@pytest.mark.parametrize("shape", [(9, 11), (4, 7, 6)])
@pytest.mark.parametrize("share", [1.0, 0.15])
def test_distances_agree_with_brute_force(shape, share):
    rng = np.random.default_rng(0)
    known = rng.random(shape) < share
    members = (rng.random(shape) < 0.4) & known
    spacing = (2.5, 1.0, 1.0)[-len(shape) :]
    places = np.argwhere(np.ones(shape)) * spacing
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    inside, outside = members.ravel(), (known & ~members).ravel()
    expected = np.where(inside, apart[:, outside].min(1), apart[:, inside].min(1)) * known.ravel()
    found = distance_to_others(members, known, spacing)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)


def test_hausdorff_by_hand():
    logits, target, _ = strip([0, 0, 1, 1, 1], [0.2, 0.6, 0.9, 0.8, 0.7])
    # Distances to the truth's outline 2, 1, 1, 2, 3; to the prediction's (p > 1/2 from the second on) 1, 1, 2, 3, 4.
    wrong = np.array([0.2, 0.6, -0.1, -0.2, -0.3]) ** 2
    far = (wrong * (np.array([2, 1, 1, 2, 3]) ** 2.0 + np.array([1, 1, 2, 3, 4]) ** 2)).mean()
    dice = 1 - (2 * 2.4 + 1) / (3.2 + 3 + 1)
    value = loss_function("hausdorff", {"weight": 0.5})(logits, target, ONE)
    assert float(value) == pytest.approx(dice + 0.5 * far)
    assert float(loss_function("hausdorff")(logits, target, ONE)) == pytest.approx(2 * dice)


@pytest.mark.parametrize("kind", KINDS)
def test_hausdorff_agrees_with_monai(kind):
    case = make(kind, size=9)
    theirs = monai.HausdorffDTLoss(softmax=True, to_onehot_y=True, include_background=True, alpha=1.5)
    expected = float(theirs(case.logits, case.target[:, None]))
    ours = float(case.loss("hausdorff", {"weight": 1, "alpha": 1.5})) - float(case.loss("dice"))
    assert ours == pytest.approx(expected, rel=1e-4)


def test_hausdorff_gives_both_terms_the_same_size_but_not_the_same_pull():
    case = make("binary", size=12)
    far, near = (case.logits.clone().requires_grad_() for _ in range(2))
    (both,) = torch.autograd.grad(case.loss("hausdorff", logits=far), far)
    (dice,) = torch.autograd.grad(case.loss("dice", logits=near), near)
    weight = float(case.loss("dice")) / (float(case.loss("hausdorff", {"weight": 1})) - float(case.loss("dice")))
    (steady,) = torch.autograd.grad(case.loss("hausdorff", {"weight": weight}, logits=near), near)
    torch.testing.assert_close(both, steady, rtol=1e-3, atol=1e-7)
    assert (both - 2 * dice).norm() > 0.1 * dice.norm()


@pytest.mark.parametrize("name", ["boundary", "hausdorff"])
def test_a_far_island_costs_more_than_a_near_one(name):
    target = torch.zeros(1, 40, 40, dtype=torch.int64)
    target[0, 5:15, 5:15] = 1
    options = {"weight": 1, "region": "none"} if name == "boundary" else {"weight": 1}
    values = []
    for corner in (17, 34):
        wrong = target.clone()
        wrong[0, corner : corner + 3, corner : corner + 3] = 1
        logits = 20 * one_hot(wrong, 2).float()
        values.append(float(loss_function(name, options)(logits, target, torch.ones(2))))
    assert values[1] > 2 * values[0]


def test_active_contour_by_hand():
    # Class 1 on the right column of 3 x 2 pixels, seen as 0.2 and 0.9 except for one 0.5.
    p = torch.tensor([[0.2, 0.9], [0.5, 0.9], [0.2, 0.9]], dtype=torch.float64)
    logits = torch.stack([torch.zeros_like(p), torch.log(p / (1 - p))])[None]
    target = torch.tensor([[0, 1], [0, 1], [0, 1]])[None]
    # Forward differences at the two pixels that have both neighbours: (0.3, 0.7) and (-0.3, 0.4).
    length = (np.hypot(0.3, 0.7) + np.hypot(0.3, 0.4)) / 2
    region = (0.2 + 0.5 + 0.2 + 3 * 0.1) / 6
    for weight in (1, 10):
        value = loss_function("active-contour", {"region": weight})(logits, target, ONE)
        assert float(value) == pytest.approx(length + weight * region, abs=3e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_length_of_an_outline_agrees_with_numpy(kind):
    case = make(kind, dtype=torch.float64)
    p = case.logits.softmax(1).numpy()
    slopes = [np.diff(p, axis=axis) for axis in range(2, p.ndim)]
    inner = tuple(slice(0, n - 1) for n in p.shape[2:])
    length = np.sqrt(sum(s[(..., *inner)] ** 2 for s in slopes)).mean()
    g = one_hot(case.target).numpy()
    region = (p * (1 - g) ** 2 + (1 - p) * g**2).mean()
    assert float(case.loss("active-contour", {"region": 3})) == pytest.approx(length + 3 * region, rel=2e-3)


def test_a_frayed_outline_is_longer():
    target = torch.zeros(1, 32, 32, dtype=torch.int64)
    target[0, :, :16] = 1
    frayed = target.clone()
    frayed[0, ::2, 16:18] = 1
    straight, ragged = (
        float(loss_function("active-contour", {"region": 1e-6})(20 * one_hot(t, 2).float(), target, torch.ones(2)))
        for t in (target, frayed)
    )
    assert ragged > 1.5 * straight


def vessel(size=48, gap=False):
    """Return a line three pixels thick from corner to corner, (1, Y, X); with a gap of three pixels on request."""
    image = np.zeros((size, size), np.int64)
    for y, x in zip(*line(4, 4, size - 5, size - 9), strict=True):
        image[y - 1 : y + 2, x - 1 : x + 2] = 1
    if gap:
        image[size // 2 - 1 : size // 2 + 2] = 0
    return torch.from_numpy(image)[None]


@pytest.mark.parametrize("kind", KINDS)
def test_centerline_dice_agrees_with_monai(kind):
    # MONAI adds the channels up before it divides: with one foreground class there is one.
    case = make(kind, size=12, batch=1)
    case.logits, case.target, case.weights = case.logits[:, :2], case.target.clamp_max(1), torch.ones(2)
    for alpha, iterations in ((0.5, 3), (0.2, 5)):
        theirs = monai.SoftDiceclDiceLoss(
            iter_=iterations, alpha=alpha, softmax=True, to_onehot_y=True, include_background=False, smooth=1e-9
        )(case.logits, case.target[:, None])
        ours = case.loss("cldice", {"alpha": alpha, "iterations": iterations})
        assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("axes", [(20, 22), (8, 12, 11)])
def test_the_soft_skeleton_is_monais(axes):
    from monai.losses.cldice import soft_skel

    maps = torch.rand(2, 3, *axes, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(soft_skeleton(maps, 4), soft_skel(maps, 4))


def test_the_skeleton_of_a_bar_is_its_middle_line():
    bar = torch.zeros(1, 1, 11, 21)
    bar[..., 4:7, 2:19] = 1
    lines = soft_skeleton(bar, 3)
    assert (lines[0, 0, 5, 3:18] == 1).all()
    assert lines[0, 0, [4, 6], 5:16].sum() == 0


def test_a_thick_disk_needs_more_erosions():
    image = torch.zeros(1, 1, 41, 41)
    image[0, 0][disk((20, 20), 12)] = 1
    assert soft_skeleton(image, 3)[0, 0, 20, 20] == 0
    assert soft_skeleton(image, 13)[0, 0, 20, 20] == 1
    case = make("binary")
    case.target = image[0].long()
    case.logits = torch.randn(1, 2, 41, 41, generator=torch.Generator().manual_seed(0)) + 3 * one_hot(case.target, 2)
    few, many = (float(case.loss("cldice", {"iterations": n})) for n in (1, 13))
    assert few != pytest.approx(many, rel=1e-3)


def test_a_cut_vessel_costs_more_than_as_many_pixels_at_its_side():
    whole, cut = vessel(), vessel(gap=True)
    missing = int((whole != cut).sum())
    edge = torch.zeros_like(whole, dtype=torch.bool)
    edge[:, :, 1:] = (whole == 1)[:, :, 1:] & (whole == 0)[:, :, :-1]
    thinner = whole.clone()
    thinner[tuple(edge.nonzero()[:missing].T)] = 0

    def of(name, answer, options=None):
        return float(loss_function(name, options)(30 * one_hot(answer, 2).float(), whole, torch.ones(2)))

    assert of("dice", cut) == pytest.approx(of("dice", thinner), rel=1e-3)
    assert of("cldice", cut, {"alpha": 1}) > 1.5 * of("cldice", thinner, {"alpha": 1})
    assert of("cldice", whole, {"alpha": 1}) == pytest.approx(0, abs=1e-6)


def test_without_centre_lines_it_is_dice_of_the_foreground():
    case = make("multiclass", ignored=0.2)
    dice = float(case.loss("dice", {"background": False}))
    assert float(case.loss("cldice", {"alpha": 0})) == pytest.approx(dice, rel=1e-5)
