from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_segnet.config import LabelClass, RunConfig, TrainConfig, apply_settings, merge
from napari_segnet.errors import ConfigError
from napari_segnet.presets import Fingerprint, choose_zoom, resolve
from napari_segnet.request import build_config

SMALL = Fingerprint(images=1, height=300, width=400, channels=1, outputs=2, annotated=1000)


def test_a_typo_is_refused_with_its_name():
    with pytest.raises(ConfigError, match=r"no option 'train.bath_size'"):
        apply_settings(RunConfig(), ["train.bath_size=4"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.batch_size", "KEY=VALUE"),
        ("train.batch_size=0", "greater than or equal to 1"),
        ("train.learning_rate=fast", "valid number"),
        ("train.seed.more=1", "has no options of its own"),
        ("train.learning_rate=.nan", "finite"),
    ],
)
def test_a_bad_value_is_named(setting, message):
    with pytest.raises(ConfigError, match=message):
        apply_settings(RunConfig().replace(train={"seed": 1}), [setting])


def test_values_are_read_as_people_write_them():
    config = apply_settings(
        RunConfig(), ["train.learning_rate=1e-3", "train.augment.flip=false", "data.ignore_values=[11, 12]"]
    )
    assert config.train.learning_rate == 0.001
    assert config.train.augment.flip is False
    assert config.data.ignore_values == (11, 12)


def test_two_classes_can_not_share_a_value():
    same = [LabelClass(value=1, name="a", colour="#000000"), LabelClass(value=1, name="b", colour="#ffffff")]
    with pytest.raises(ConfigError, match="share a label value"):
        RunConfig().replace(data={"classes": [c.model_dump() for c in same]})


def test_json_holds_only_what_was_said_until_the_preset_fills_it():
    config = RunConfig().replace(train={"seed": 7})
    assert RunConfig.from_json(config.to_json()).explicit() == {"train": {"seed": 7}}
    whole, _ = resolve(config, SMALL)
    assert '"learning_rate"' in whole.to_json()
    assert whole.train.seed == 7


@given(
    preset=st.sampled_from(["fast", "balanced", "best"]),
    side=st.integers(8, 9000),
    device=st.sampled_from(["cpu", "cuda"]),
)
def test_resolving_twice_changes_nothing(preset, side, device):
    data = Fingerprint(1, side, side, 1, 2, 100, device, 4.0)
    once, _ = resolve(RunConfig().replace(train={"preset": preset}), data)
    twice, _ = resolve(RunConfig.from_json(once.to_json()), data)
    assert once == twice
    assert once.train.patch_size <= max(64, side)


@pytest.mark.parametrize(
    ("asked", "device", "preset"),
    [
        ({}, "cpu", "fast"),
        ({"minutes": 3.0}, "cpu", "fast"),
        ({"minutes": 15.0}, "cpu", "fast"),
        ({"minutes": 90.0}, "cpu", "balanced"),
        ({"minutes": 600.0}, "cpu", "best"),
        ({"minutes": 8.0}, "cuda", "balanced"),
        ({"minutes": 90.0, "preset": "fast"}, "cpu", "fast"),
    ],
)
def test_without_a_preset_the_time_chooses_one_and_it_stays(asked, device, preset):
    data = replace(SMALL, device=device)
    config, reasons = resolve(RunConfig().replace(train=asked), data)
    assert config.train.preset == preset
    assert ("preset" in reasons) == ("minutes" in asked and "preset" not in asked)
    # A run that goes on elsewhere keeps its preset.
    again, _ = resolve(
        RunConfig.from_json(config.to_json()), replace(data, device="cuda" if device == "cpu" else "cpu")
    )
    assert again == config


@pytest.mark.parametrize(
    ("width", "grain", "side", "settings", "parts"),
    [
        (None, None, 2000, [], 1),
        (30.0, 100.0, 2000, [], 1),
        (81.0, 298.0, 400, [], 2),
        (113.0, 23.0, 256, [], 1),
        (113.0, 35.0, 360, [], 2),
        (243.0, 894.0, 1200, [], 6),
        (243.0, 40.0, 1200, [], 2),
        (243.0, 894.0, 1200, ["train.preset=best"], 3),
        (243.0, 894.0, 1200, ["train.patch_size=256"], 3),
        (243.0, 894.0, 1200, ["train.minutes=90"], 4),
        (243.0, 894.0, 1200, ["data.zoom=1"], 1),
        (243.0, 894.0, 1200, ["data.pixel_size=2"], 1),
        (30.0, 100.0, 2000, ["data.zoom=0.5"], 2),
    ],
)
def test_wide_objects_are_shown_smaller_unless_it_costs_too_much(width, grain, side, settings, parts):
    data = replace(SMALL, object_width=width, grain=grain, height=side, width=side)
    chosen, reasons = choose_zoom(apply_settings(RunConfig(), settings), data)
    assert chosen == pytest.approx(1 / parts, abs=1e-4)
    assert ("images" in reasons) == (parts > 1 and not any("zoom" in s for s in settings))


@pytest.mark.parametrize(
    ("preset", "device", "mirrors"), [("fast", "cuda", False), ("best", "cpu", False), ("best", "cuda", True)]
)
def test_volumes_are_mirrored_only_where_there_is_time_to_learn_that(preset, device, mirrors):
    volume = replace(SMALL, depth=40, device=device)
    config, reasons = resolve(RunConfig().replace(train={"preset": preset}), volume)
    assert config.train.augment.flip is config.train.augment.quarter_turns is mirrors
    assert ("augmentation" in reasons) == (not mirrors)
    assert resolve(RunConfig().replace(train={"preset": preset}), replace(volume, depth=None))[0].train.augment.flip
    asked = {"preset": preset, "augment": {"flip": "left-right"}}
    config, _ = resolve(RunConfig().replace(train=asked), volume)
    assert config.train.augment.flip == "left-right"
    assert config.train.augment.rotation == 25


def test_many_classes_leave_memory_for_fewer_patches():
    few, many = (resolve(RunConfig(), replace(SMALL, outputs=n, memory=0.2))[0].train.batch_size for n in (2, 150))
    assert 1 <= many < few


def test_volumes_need_more_minutes_for_a_larger_preset():
    for depth, preset in ((None, "balanced"), (40, "fast")):
        assert (
            resolve(RunConfig().replace(train={"minutes": 90}), replace(SMALL, depth=depth))[0].train.preset == preset
        )


def test_an_image_is_resized_in_one_way():
    with pytest.raises(ConfigError, match=r"data.pixel_size and data.zoom = 0.5 exclude each other"):
        apply_settings(RunConfig(), ["data.pixel_size=2", "data.zoom=0.5"])


def test_what_was_set_wins_over_the_preset():
    config, _ = resolve(RunConfig().replace(train={"preset": "best", "patch_size": 64, "minutes": 2.0}), SMALL)
    assert config.train.patch_size == 64
    assert config.train.epochs is None
    network, reasons = resolve(RunConfig().replace(model={"network": "unet"}), SMALL)
    assert network.model.options == {}
    assert "asked for" in reasons["network"]


def test_presets_adapt_to_memory_and_annotation():
    def chosen(**changes):
        return resolve(RunConfig().replace(train={"preset": "best"}), replace(SMALL, **changes))[0].train

    assert chosen(memory=0.1).batch_size < chosen(memory=64.0).batch_size
    assert chosen(annotated=500).epochs < chosen(annotated=5_000_000).epochs
    large = {"height": 4000, "width": 4000}
    assert chosen(**large, device="cuda").patch_size > chosen(**large).patch_size
    assert chosen(**large).patch_size > chosen(height=70, width=70).patch_size


def test_a_training_without_an_end_is_refused():
    with pytest.raises(ConfigError, match="Neither epochs nor minutes"):
        resolve(RunConfig().replace(train={"epochs": None}), SMALL)


def test_a_model_that_is_fine_tuned_keeps_its_own_network_and_nothing_of_the_preset():
    config = RunConfig().replace(model={"network": "plain-unet", "options": {"width": 24}})
    whole, reasons = resolve(config, SMALL, fine_tunes=True)
    assert whole.model.options == {"width": 24}
    assert reasons["network"] == "that of the model it starts from."
    assert whole.train.learning_rate == resolve(config, SMALL)[0].train.learning_rate / 2
    assert resolve(config, SMALL)[0].model.options["width"] == 24
    assert "max_width" in resolve(config, SMALL)[0].model.options


def test_an_encoder_means_a_network_that_has_one():
    assert build_config({"encoder": "resnet18"}).model.network == "unet"
    with pytest.raises(ConfigError, match="has no encoder to choose"):
        build_config({"encoder": "resnet18", "network": "plain-unet"})
    with pytest.raises(ConfigError, match="Did you mean 'plain-unet'"):
        build_config({"network": "plainunet"})


def test_options_go_over_the_file_and_settings_over_both(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("train:\n  batch_size: 2\n  epochs: 9\n  seed: 3\n")
    config = build_config({"epochs": 5}, ["train.seed=8"], file)
    assert (config.train.batch_size, config.train.epochs, config.train.seed) == (2, 5, 8)


@pytest.mark.parametrize("text", ["- a\n- b\n", "train: [", "\x00"])
def test_a_damaged_configuration_file_is_said(tmp_path, text):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="configuration"):
        build_config({}, config_file=file)


def test_a_changed_copy_is_validated_again():
    with pytest.raises(ConfigError, match="batch_size"):
        TrainConfig().replace(batch_size=-1)


def test_merge_goes_into_sections():
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}}) == {"a": {"b": 1, "c": 4}, "d": 3}


def test_what_was_asked_for_is_said_instead_of_what_the_preset_would_choose():
    asked = RunConfig().replace(train={"patch_size": 64, "epochs": 3})
    config, reasons = resolve(asked, SMALL)
    assert reasons["patch"] == "64 pixels, as asked for."
    assert reasons["length"] == "at most 3 epochs, as asked for."
    assert "patches a step, on" in reasons["batch"]
    _, again = resolve(config, SMALL)
    assert "as asked for" not in again["patch"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.batchsize=1", "There is no option 'train.batchsize'. Did you mean 'batch_size'"),
        ("trian.seed=1", "There is no option 'trian'. Did you mean 'train'"),
        ("data.zzz=1", "There is no option 'data.zzz'. There are: task, unlabelled"),
    ],
)
def test_an_option_that_does_not_exist_names_those_that_are_like_it(setting, words):
    with pytest.raises(ConfigError) as raised:
        apply_settings(RunConfig(), [setting])
    assert words in str(raised.value)
