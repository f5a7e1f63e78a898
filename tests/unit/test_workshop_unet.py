import pytest
import torch
from torch import nn

from napari_segnet.errors import ConfigError
from napari_segnet.models.registry import build_network


def build(channels=3, outputs=2, **options):
    torch.manual_seed(0)
    return build_network("workshop-unet", channels=channels, outputs=outputs, options=options)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("channels", "published"), [(1, 1_940_817), (3, 1_941_105)])
def test_the_parameters_are_those_of_the_keras_summary(channels, published):
    def level(inputs, width):
        return 9 * inputs * width + width + 9 * width * width + width

    down = [level(i, w) for i, w in [(channels, 16), (16, 32), (32, 64), (64, 128), (128, 256)]]
    up = [4 * 2 * w * w + w + level(2 * w, w) for w in (128, 64, 32, 16)]
    one_output = sum(down) + sum(up) + 16 + 1
    assert one_output == published
    with torch.device("meta"):
        # We have a logit for each class, there is one number for both.
        assert parameters(build(channels)) == one_output + 17


def test_dropout_grows_towards_the_lowest_level_and_is_mirrored():
    rates = [m.p for m in build().modules() if isinstance(m, nn.Dropout)]
    assert rates == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.2, 0.2, 0.1, 0.1])
    assert all(m.p == 0 for m in build(dropout=0).modules() if isinstance(m, nn.Dropout))


def test_weights_start_as_keras_he_uniform():
    weight = build().encoder[4][3].weight
    limit = (6 / (9 * 256)) ** 0.5
    assert 0.99 * limit < weight.abs().max() <= limit
    assert weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.01)
    normal = build(initializer="he_normal").encoder[4][3].weight
    assert normal.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)


def test_an_option_that_it_does_not_have_is_refused():
    with pytest.raises(ConfigError, match="no option 'filters'"):
        build(filters=3)
    with pytest.raises(ConfigError, match="initializer"):
        build(initializer="ones")
