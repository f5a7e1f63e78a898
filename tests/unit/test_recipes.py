from pathlib import Path

import pytest
import yaml

from napari_segnet.config import RunConfig
from napari_segnet.models.registry import strides_of
from napari_segnet.models.size import on_meta
from napari_segnet.presets import Fingerprint, resolve
from napari_segnet.request import build_config
from napari_segnet.training.loss_catalogue import loss_spec
from napari_segnet.training.losses import loss_function
from napari_segnet.training.optimizers import optimizer_spec
from napari_segnet.training.schedule import learning_rate

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "recipes"
RECIPES = sorted(FOLDER.glob("*.yaml"))
CAMVID = Fingerprint(images=367, height=360, width=480, channels=3, outputs=11, annotated=60_000_000)
TITLES = {"camvid-segnet", "camvid-fcn8s", "camvid-deeplabv3plus", "camvid-unet", "camvid-fc-densenet-finetune",
          "camvid-fc-densenet56", "camvid-fc-densenet67", "camvid-fc-densenet103"}  # fmt: skip


def recipe(name) -> RunConfig:
    return build_config({}, (), FOLDER / f"{name}.yaml")


def test_each_recipe_that_the_docs_speak_of_is_there():
    assert {path.stem for path in RECIPES} == TITLES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_a_configuration_that_no_preset_changes(path):
    config = build_config({}, (), path)
    assert config.data.ignore_values == (11,)
    assert config.data.unlabelled == "background"
    resolved = resolve(config, CAMVID)[0].train.model_dump()
    # Without an average its decay means nothing.
    changed = {name for name, value in config.train.model_dump().items() if resolved[name] != value}
    assert changed <= {"ema"}
    assert resolved["averaging"] == "none"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipes_network_exists_and_takes_its_patches(path):
    config = build_config({}, (), path)
    name = config.model.network if "network" in config.explicit().get("model", {}) else "fc-densenet103"
    network = on_meta(name, 3, 11, config.model.encoder, config.model.options)
    assert all(config.train.patch_size % stride == 0 for stride in strides_of(network, 2))
    assert loss_function(loss_spec(config.train.loss).name, config.train.loss_options)
    assert optimizer_spec(config.train.optimizer).read(config.train.optimizer_options)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_names_its_source_and_what_differs(path):
    text = path.read_text(encoding="utf-8")
    assert "# Source: " in text
    assert "arXiv:" in text
    assert "# Different from it:\n# - " in text
    assert f"--config {path.name}" in text
    assert set(yaml.safe_load(text)) <= {"data", "model", "train"}


def test_the_rate_of_fc_densenet_falls_by_half_a_percent_an_epoch():
    train = recipe("camvid-fc-densenet103").train
    steps = train.steps_per_epoch
    assert [learning_rate(train, step, 0.0) for step in (0, steps - 1)] == pytest.approx([1e-3, 1e-3])
    assert learning_rate(train, 100 * steps, 0.1) == pytest.approx(1e-3 * 0.995**100)


def test_the_rate_of_fcn_is_that_of_a_sum_over_a_patch():
    train = recipe("camvid-fcn8s").train
    assert train.learning_rate == pytest.approx(1e-10 * train.patch_size**2, rel=0.01)
    assert train.epochs * train.steps_per_epoch == pytest.approx(100_000, rel=0.01)


def test_the_rate_of_deeplab_falls_to_zero_with_the_power_of_nine_tenths():
    train = recipe("camvid-deeplabv3plus").train
    assert learning_rate(train, 0, 0.0) == pytest.approx(0.007)
    assert learning_rate(train, 10, 0.5) == pytest.approx(0.007 * 0.5**0.9)
    assert train.epochs * train.steps_per_epoch == pytest.approx(30_000, rel=0.01)


def test_segnet_balances_by_the_median_frequency():
    train = recipe("camvid-segnet").train
    assert (train.class_weights, train.learning_rate, train.batch_size, train.optimizer_options) == (
        "median", 0.1, 12, {"momentum": 0.9, "nesterov": False},
    )  # fmt: skip
    assert train.epochs * train.steps_per_epoch == pytest.approx(40_000, rel=0.01)
