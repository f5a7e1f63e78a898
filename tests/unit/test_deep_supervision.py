"""Coarse stages have to answer, too: during learning only."""

import copy

import pytest
import torch

from napari_segnet.config import TrainConfig
from napari_segnet.data.labels import IGNORE
from napari_segnet.errors import ConfigError
from napari_segnet.models.registry import build_network
from napari_segnet.training.checkpoint import read_checkpoint, write_checkpoint
from napari_segnet.training.deep_supervision import DeepSupervised, at_size, listening, plain
from napari_segnet.training.learner import Batch, Learner
from napari_segnet.training.losses import loss_function

CPU = torch.device("cpu")
SMALL = {"encoder": "tu-mobilenetv3_small_050", "options": {"decoder_width": 16}}


def supervised(name="plain-unet", side=32, **changes):
    torch.manual_seed(0)
    asked = {"options": {"width": 4, "depth": 3}} if name == "plain-unet" else SMALL
    network = build_network(name, channels=1, outputs=2, **{**asked, **changes})
    return DeepSupervised(network, 2, torch.zeros(1, 1, side, side))


@pytest.mark.parametrize(
    ("name", "changes", "sizes"),
    [
        ("plain-unet", {}, [16, 32]),
        ("unet", {}, [4, 8, 16, 32]),
        ("unet", {"options": {"depth": 3}}, [16, 32]),
        ("manet", {}, [4, 8, 16, 32]),
        ("linknet", {"options": {}}, [4, 8, 16, 32]),
        # As in its paper: the nodes of the finest row, all of one size.
        ("unetplusplus", {}, [32, 32, 32, 32]),
        # This encoder has no features of half the resolution: then those nodes have no channels.
        ("unetplusplus", {"encoder": "tu-convnext_atto"}, [32]),
    ],
)
def test_each_stage_but_the_last_answers_from_coarse_to_fine(name, changes, sizes):
    network = supervised(name, 64, **changes)
    x = torch.randn(2, 1, 64, 64)
    with listening(network.train()) as coarse:
        logits = network(x)
    assert logits.shape == (2, 2, 64, 64)
    assert [tuple(answer.shape) for answer in coarse] == [(2, 2, side, side) for side in sizes]
    sum(answer.sum() for answer in coarse).backward()
    assert all(head.weight.grad is not None for head in network.heads)


def test_it_answers_as_the_network_itself_and_hooks_do_not_stay():
    network = supervised().eval()
    x = torch.randn(1, 1, 32, 32)
    with listening(network) as coarse:
        logits = network(x)
    assert torch.equal(logits, plain(network)(x))
    assert len(coarse) == 2
    assert not [m for m in network.modules() if m._forward_hooks]
    twin = copy.deepcopy(network)
    with listening(twin) as again:
        twin(x)
    assert all(torch.equal(a, b) for a, b in zip(again, coarse, strict=True))
    with listening(plain(network)) as nothing:
        plain(network)(x)
    assert nothing == []


def test_hooks_do_not_stay_when_a_pass_fails():
    network = supervised()
    with pytest.raises(RuntimeError), listening(network):
        network(torch.randn(1, 5, 32, 32))
    assert not [m for m in network.modules() if m._forward_hooks]


def test_trying_it_changes_nothing():
    torch.manual_seed(0)
    network = build_network("plain-unet", channels=1, outputs=2, options={"width": 4, "depth": 3}).train()
    before = copy.deepcopy(network.state_dict())
    DeepSupervised(network, 2, torch.randn(1, 1, 32, 32))
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(("name", "options"), [("plain-unet", {"depth": 1}), ("fpn", {"decoder_width": 64})])
def test_a_network_without_stages_is_refused_with_some_that_have_them(name, options):
    with pytest.raises(ConfigError, match=r"no stages that deep supervision could judge.*plain-unet"):
        supervised(name, 64, options=options)


def test_targets_are_taken_at_the_nearest_pixels_and_what_is_not_annotated_stays_so():
    targets = torch.tensor([[[0, 1, 2, 3], [1, 1, 1, 1], [IGNORE, 0, 7, 0], [0, 0, 0, 0]]])
    small = at_size(targets, torch.zeros(1, 9, 2, 2))
    assert small.tolist() == [[[0, 2], [IGNORE, 7]]]
    assert small.dtype == torch.int64
    volume = torch.arange(64).reshape(1, 4, 4, 4) % 5
    assert torch.equal(at_size(volume, torch.zeros(1, 2, 2, 2, 2)), volume[:, ::2, ::2, ::2])


def learner(network=None, **changes):
    config = TrainConfig(precision="float32", batch_size=4, optimizer="sgd", weight_decay=0, **changes)
    return Learner(network or supervised(), loss_function("ce"), torch.ones(2), config, CPU)


def batch():
    images = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    targets = (images[:, 0] > 0).long()
    targets[:, :5] = IGNORE
    return Batch(images, targets)


def test_the_loss_of_the_stages_counts_half_a_quarter_and_so_on():
    one, same = learner(gradient_clip=1e6), supervised().train()
    shown = batch()
    one.step(shown, 1e-3)
    with listening(same) as (coarse):
        logits = same(shown.images)
    loss = loss_function("ce")
    weights = torch.ones(2)
    total = loss(logits, shown.targets, weights)
    for share, answer in zip((1 / 4, 1 / 2), coarse, strict=True):
        total = total + share * loss(answer, at_size(shown.targets, answer), weights)
    total.backward()
    for mine, theirs in zip(one.network.parameters(), same.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    assert one.counters.loss_sum == pytest.approx(loss(logits, shown.targets, weights).item())


def test_what_is_saved_is_the_network_alone_and_a_checkpoint_holds_the_heads(tmp_path):
    whole, first, second = (learner(averaging=kind) for kind in ("ema", "ema", "ema"))
    for _ in range(4):
        whole.step(batch(), 1e-2)
    for _ in range(2):
        first.step(batch(), 1e-2)
    names = set(plain(supervised()).state_dict())
    assert set(first.average.state_dict()) == names
    assert set(first.refresh_average(lambda: [batch().images]).state_dict()) == names
    first.belief(batch().images)
    write_checkpoint(tmp_path / "c.safetensors", first)
    read_checkpoint(tmp_path / "c.safetensors", second)
    for _ in range(2):
        second.step(batch(), 1e-2)
    theirs = whole.network.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in second.network.state_dict().items())
    assert [key for key in theirs if key.startswith("heads.")]


def test_volumes_have_heads_of_three_dimensions():
    class Volumes(torch.nn.Module):
        stages, stride = ("first",), 2

        def __init__(self):
            super().__init__()
            self.first, self.last = torch.nn.Conv3d(1, 3, 2, stride=2), torch.nn.ConvTranspose3d(3, 2, 2, stride=2)

        def forward(self, x):
            return self.last(self.first(x))

    one = learner(DeepSupervised(Volumes(), 2, torch.zeros(1, 1, 4, 8, 8)))
    images = torch.randn(2, 1, 4, 8, 8)
    one.step(Batch(images, (images[:, 0] > 0).long()), 1e-2)
    assert one.network.heads[0].weight.shape == (2, 3, 1, 1, 1)
    assert one.network.heads[0].weight.grad.abs().sum() > 0
