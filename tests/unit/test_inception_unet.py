import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from napari_segnet.errors import ConfigError
from napari_segnet.models.inception_unet import HybridPool, Options, low_pass, spectral_pool
from napari_segnet.models.registry import build_network
from napari_segnet.models.switch_norm import SwitchNorm


def count(module):
    return sum(p.numel() for p in module.parameters())


def on_meta(outputs=2, **options):
    with torch.device("meta"):
        return build_network("inception-unet", channels=3, outputs=outputs, options=options)


# Table 1 of the paper, without the rows of hybrid pooling and joining, which have no parameters: where the layer is
# in our network, the channels that come out, and the parameters that the table gives.
TABLE = {
    "Switch Norm.": ("norm", 3, 18),
    "Incep. (1a)": ("down.0.inception", 51, 1_728),
    "Conv. (1b)-D": ("down.0.join", 16, 832),
    "Incep. (2a)": ("down.1.inception", 112, 18_016),
    "Conv. (2b)-D": ("down.1.join", 32, 3_616),
    "Incep. (3a)": ("down.2.inception", 224, 71_872),
    "Conv. (3b)-D": ("down.2.join", 64, 14_400),
    "Incep. (4a)": ("down.3.inception", 448, 280_104),
    "Conv. (4b)-D": ("down.3.join", 128, 57_472),
    "Incep. (5a)": ("bottom", 896, 1_147_648),
    "Conv. (5b)": ("bottom_join", 256, 230_400),
    "Conv.T (6a)": ("up.0.upsample", 128, 131_200),
    "Incep. (6b)": ("up.0.block.inception", 640, 1_147_264),
    "Conv. (6c)-D": ("up.0.block.join", 128, 82_048),
    "Conv.T (7a)": ("up.1.upsample", 64, 32_832),
    "Incep. (7b)": ("up.1.block.inception", 320, 286_912),
    "Conv. (7c)-D": ("up.1.block.join", 64, 20_544),
    "Conv.T (8a)": ("up.2.upsample", 32, 8_224),
    "Incep. (8b)": ("up.2.block.inception", 160, 71_776),
    "Conv. (8c)-D": ("up.2.block.join", 32, 5_152),
    "Conv.T (9a)": ("up.3.upsample", 16, 2_064),
    "Incep. (9b)": ("up.3.block.inception", 80, 17_968),
    "Conv. (9c)": ("up.3.block.join", 16, 1_296),
}
# Where our number is another one, and why.
DIFFERENT = {
    # Keras counts the 2 x 3 running statistics, which are no parameters here.
    "Switch Norm.": 12,
    # A misprint: 64 channels to 128 of 1 x 1, 3 x 3 and 5 x 5 are 64 * 128 * 35 + 3 * 128, as in the rows 3a and 5a.
    "Incep. (4a)": 287_104,
}


@pytest.mark.parametrize("row", TABLE)
def test_parameters_of_each_row_of_the_paper_s_table(row):
    place, _, parameters = TABLE[row]
    assert count(on_meta().get_submodule(place)) == DIFFERENT.get(row, parameters)


def test_no_other_layer_has_parameters_and_the_sum_is_the_table_s():
    rows = sum(parameters for _, _, parameters in TABLE.values())
    assert rows + 17 == 3_633_403
    changes = sum(own - TABLE[row][2] for row, own in DIFFERENT.items())
    # The row "Conv. (O/P)": 17 for one class.
    assert count(on_meta(outputs=2)) == rows + changes + 2 * 17
    buffers = dict(on_meta().norm.named_buffers())
    assert sum(buffers[name].numel() for name in ("running_mean", "running_var")) == 18 - 12


def test_sizes_of_each_row_for_an_image_of_128_pixels():
    network, shapes = on_meta().eval(), {}
    sides = {"down": (128, 64, 32, 16), "up": (16, 32, 64, 128)}
    for place in [place for place, _, _ in TABLE.values()] + ["thumbnail", "pool.0", "pool.3", "bottom_join"]:

        def hook(module, inputs, output, place=place):
            shapes[place] = (tuple(inputs[0].shape[1:]), tuple(output.shape[1:]))

        network.get_submodule(place).register_forward_hook(hook)
    network(torch.zeros(1, 3, 128, 128, device="meta"))
    for place, channels, _ in TABLE.values():
        level = place.split(".")
        side = sides[level[0]][int(level[1])] if level[0] in sides else {"norm": 128}.get(place, 8)
        assert shapes[place][1] == (channels, side, side)
    assert shapes["thumbnail"] == ((3, 128, 128), (3, 8, 8))
    assert shapes["pool.0"] == ((16, 128, 128), (16, 64, 64))
    assert shapes["pool.3"] == ((128, 16, 16), (128, 8, 8))
    # Concat. (5a,0), and (6a,4b) to (9a,1b)
    assert shapes["bottom_join"][0] == (899, 8, 8)
    assert [shapes[f"up.{n}.block.inception"][0][0] for n in range(4)] == [256, 128, 64, 32]


def hartley(size):
    """Return the matrix of the discrete Hartley transform."""
    angles = 2 * math.pi * torch.outer(torch.arange(size), torch.arange(size)).double() / size
    return torch.cos(angles) + torch.sin(angles)


@pytest.mark.parametrize(("size", "factor"), [(12, 2), (10, 2), (18, 2), (32, 16), (8, 1), (7, 1)])
def test_spectral_pooling_is_that_of_the_hartley_transform(size, factor):
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)).double()
    kept = size // factor
    # Transform (its own inverse but for the size), keep the frequencies below kept / 2 at both ends, transform back.
    spectrum = hartley(size) @ x @ hartley(size)
    ends = [k % size for k in range(-((kept - 1) // 2), (kept - 1) // 2 + 1)]
    at = torch.tensor(ends)
    small = torch.zeros(2, 3, kept, kept).double()
    rows, columns = (at % kept)[:, None], (at % kept)[None, :]
    here = torch.where(at > kept, at - size, at) % size
    small[:, :, rows, columns] = spectrum[:, :, here[:, None], here[None, :]]
    expected = hartley(kept) @ small @ hartley(kept) / size**2
    assert torch.allclose(spectral_pool(x, factor), expected, atol=1e-6)


def test_spectral_pooling_keeps_low_frequencies_exactly_and_drops_high_ones():
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(48.0), indexing="ij")
    low = 3 + torch.cos(2 * math.pi * (2 * y / 32 + 5 * x / 48))
    assert torch.allclose(spectral_pool(low[None, None], 2)[0, 0], low[::2, ::2], atol=1e-5)
    high = torch.cos(2 * math.pi * 13 * x / 48)
    assert spectral_pool(high[None, None], 2).abs().max() < 1e-5
    assert torch.allclose(spectral_pool(low[None, None], 16), torch.tensor(3.0), atol=1e-4)


def test_long_lines_are_pooled_as_exactly_as_short_ones():
    matrix = low_pass(2048, 1024, torch.device("cpu"))
    assert torch.allclose(matrix.sum(dim=1), torch.ones(1024), atol=1e-4)
    line = torch.cos(2 * math.pi * 500 * torch.arange(2048) / 2048)
    assert torch.allclose(matrix @ line, line[::2], atol=1e-3)


def test_hybrid_pooling_by_hand():
    x = torch.tensor([[0.0, 4.0], [-2.0, 2.0]])[None, None]
    # One window: its maximum is 4; one pixel keeps the mean only, which is 1.
    assert HybridPool(1, 2, Options())(x).item() == pytest.approx((4 + 1) / 2)
    assert HybridPool(1, 2, Options(spectral_pooling=False))(x).item() == pytest.approx((4 + 1) / 2)
    # A negative mean: ReLU follows spectral pooling.
    assert HybridPool(1, 2, Options())(x - 3).item() == pytest.approx((1 + 0) / 2)
    assert HybridPool(1, 2, Options(spectral_pooling=False))(x - 3).item() == pytest.approx((1 - 2) / 2)
    # At the full resolution windows reach one pixel down and right, and no further than the image.
    maximum = torch.tensor([[4.0, 4.0], [2.0, 2.0]])
    assert torch.allclose(HybridPool(1, 1, Options())(x)[0, 0], (maximum + F.relu(x[0, 0])) / 2)
    mean = torch.tensor([[1.0, 3.0], [0.0, 2.0]])
    assert torch.allclose(HybridPool(1, 1, Options(spectral_pooling=False))(x)[0, 0], (maximum + mean) / 2)


def test_pooling_is_joined_by_a_convolution_if_asked_for():
    pool = HybridPool(1, 2, Options(learned_pooling=True))
    with torch.no_grad():
        pool.join.weight.copy_(torch.tensor([1.0, 10.0]).reshape(1, 2, 1, 1))
        pool.join.bias.fill_(100.0)
    x = torch.tensor([[0.0, 4.0], [-2.0, 2.0]])[None, None]
    assert pool(x).item() == pytest.approx(4 + 10 * 1 + 100)
    own = [3, 16, 32, 64, 128, 256, 128, 64, 32]  # what goes into the blocks
    down = [16, 32, 64, 128, 3]
    added = sum(2 * c * c + c for c in own + down)
    assert count(on_meta(learned_pooling=True)) - count(on_meta()) == added


def test_without_spectral_pooling_a_pixel_does_not_reach_the_other_border():
    torch.manual_seed(0)
    for spectral in (True, False):
        network = build_network(
            "inception-unet", channels=1, outputs=2, options={"width": 2, "spectral_pooling": spectral}
        ).eval()
        network.norm = nn.Identity()  # switch normalization sees the whole image anyway
        x = torch.randn(1, 1, 32, 512)
        changed = x.clone()
        changed[..., 0] += 1
        with torch.no_grad():
            difference = (network(x) - network(changed)).abs()[..., -16:].max()
        assert (difference > 0) == spectral


def test_dropout_is_the_table_s():
    network = on_meta(dropout=0.1)
    rates = [block.dropout.p for block in network.down] + [up.block.dropout.p for up in network.up]
    assert rates == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.2, 0.2, 0.1, 0.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "greater than or equal to 1"),
        ({"dropout": 0.5}, "less than 0.5"),
        ({"pooling": "max"}, "no option 'pooling'"),
    ],
)
def test_what_can_not_be_built_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build_network("inception-unet", channels=1, outputs=2, options=options)


def switched(chosen, x, training=True):
    norm = SwitchNorm(x.shape[1]).train(training)
    with torch.no_grad():
        for weights in (norm.mean_weight, norm.var_weight):
            weights.copy_(torch.full((3,), -100.0))
            weights[chosen] = 100.0
        norm.weight.copy_(torch.arange(1.0, x.shape[1] + 1))
        norm.bias.fill_(0.5)
    return norm, norm(x)


def test_switch_normalization_can_be_each_of_the_three():
    x = (
        3
        + 2
        * torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
        * torch.arange(1, 5)[:, None, None, None]
    )
    scale, shift = torch.arange(1.0, 4.0), torch.full((3,), 0.5)
    assert torch.allclose(switched(0, x)[1], F.instance_norm(x, weight=scale, bias=shift), atol=1e-5)
    layer = F.layer_norm(x, x.shape[1:]) * scale[:, None, None] + 0.5
    assert torch.allclose(switched(1, x)[1], layer, atol=1e-5)
    norm, y = switched(2, x)
    batch = F.batch_norm(x, None, None, scale, shift, training=True)
    assert torch.allclose(y, batch, atol=1e-5)
    # One step of the running statistics, as in batch normalization (but with the variance that is divided by n).
    assert torch.allclose(norm.running_mean, 0.1 * x.mean(dim=(0, 2, 3)), atol=1e-6)
    assert torch.allclose(norm.running_var, 0.9 + 0.1 * x.var(dim=(0, 2, 3), correction=0), atol=1e-5)
    used = F.batch_norm(x, norm.running_mean, norm.running_var, scale, shift)
    assert torch.allclose(norm.eval()(x), used, atol=1e-5)


def test_switch_normalization_mixes_all_three_alike_at_first():
    x = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0)) + 1
    mean = (x.mean((2, 3), True) + x.mean((1, 2, 3), True) + x.mean((0, 2, 3), True)) / 3
    var = sum(x.var(dims, correction=0, keepdim=True) for dims in ((2, 3), (1, 2, 3), (0, 2, 3))) / 3
    assert torch.allclose(SwitchNorm(2)(x), (x - mean) / torch.sqrt(var + 1e-5), atol=1e-5)


def test_running_statistics_can_be_measured_anew():
    batches = torch.randn(3, 2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    norm = SwitchNorm(2)
    norm(batches[0] + 7)
    norm.reset_running_stats()
    norm.momentum = None
    for batch in batches:
        norm(batch)
    assert torch.allclose(norm.running_mean, batches.mean(dim=(0, 1, 3, 4)), atol=1e-6)
    expected = batches.var(dim=(1, 3, 4), correction=0).mean(dim=0)
    assert torch.allclose(norm.running_var, expected, atol=1e-6)
    assert norm.num_batches_tracked == 3


def test_switch_normalization_keeps_half_precision_and_a_flat_image_finite():
    flat = torch.full((1, 2, 4, 4), 3.0, dtype=torch.bfloat16)
    y = SwitchNorm(2)(flat)
    assert y.dtype == torch.bfloat16
    assert torch.isfinite(y).all()
