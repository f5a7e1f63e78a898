import re

import pytest
import yaml

from napari_segnet.data.labels import default_classes
from napari_segnet.errors import ConfigError, SegNetError
from napari_segnet.export import ExportConfig, export_model, read_options
from napari_segnet.models.card import About, default_name, model_card
from napari_segnet.models.file import join_models, write_model
from napari_segnet.models.info import ModelInfo, read_info
from napari_segnet.models.registry import build_network

TINY = {"width": 4, "depth": 2, "max_width": 8}


def info(**changes):
    values = {
        "network": "plain-unet", "options": TINY, "channels": 2, "outputs": 2, "patch_size": 32, "stride": 4,
        "halo": 16, "classes": default_classes(range(2), "background", "semantic"),
        "normalization": {"mode": "dataset", "low": (0.0, 10.0), "high": (255.0, 90.0)},
        "fingerprint": {"images": 3, "height": 512, "width": 640, "annotated_pixels": 12345, "annotated_share": 0.0125},
        "scores": {"val_dice": 0.91234, "val_loss": 0.25, "dice": 0.99, "epoch": 7.0},
        "versions": {"napari-segnet": "0.1.0"},
        "config": {"model": {"network": "plain-unet", "weights": "/home/ada/start.safetensors"},
                   "train": {"preset": "fast", "learning_rate": 0.002}},
    }  # fmt: skip
    return ModelInfo(**{**values, **changes})


def sections(text):
    return dict(re.findall(r"^## (.+?)\n\n(.*?)(?=\n\n## |\Z)", text, flags=re.DOTALL | re.MULTILINE))


def test_it_says_what_the_model_file_knows():
    text = model_card(info())
    parts = sections(text)
    assert text.startswith("# class 1 (plain-unet)\n")
    assert list(parts) == [
        "Intended use", "Images", "Classes", "Training data", "Validation", "Limits", "Training", "How to use it",
        "Authors, licence, versions",
    ]  # fmt: skip
    assert "| axes | YX, 2 channels |" in parts["Images"]
    assert "0 .. 255, 10 .. 90 becomes -1 .. 1" in parts["Images"]
    assert "| 1 | class 1 |" in parts["Classes"]
    assert "| median size | 512 x 640 pixels |" in parts["Training data"]
    assert "| annotated pixels | 12,345 |" in parts["Training data"]
    assert "| annotated share | 1.25% |" in parts["Training data"]
    assert "| Dice | 0.9123 |" in parts["Validation"]
    assert "0.99" not in parts["Validation"]
    assert "learned from 3 images only" in parts["Limits"]
    assert "Ronneberger" in parts["Training"]
    assert "| napari-segnet | 0.1.0 |" in parts["Authors, licence, versions"]


def test_the_configuration_is_there_as_yaml_without_the_folders_of_its_author():
    block = re.search(r"```yaml\n(.*?)```", model_card(info()), flags=re.DOTALL)[1]
    assert yaml.safe_load(block) == {
        "model": {"network": "plain-unet", "weights": "start.safetensors"},
        "train": {"preset": "fast", "learning_rate": 0.002},
    }


def test_what_people_say_stands_where_it_belongs():
    about = About(name="Leaves", description="Finds leaves.", authors="Ada", license="MIT", data="Photographs of 2024.",
                  intended_use="Counting.", limits="Not for snow.", cite="10.1000/1")  # fmt: skip
    parts = sections(model_card(info(), about))
    assert model_card(info(), about).startswith("# Leaves\n\nFinds leaves.\n")
    assert parts["Intended use"] == "Counting."
    assert parts["Training data"].startswith("Photographs of 2024.")
    assert parts["Limits"].startswith("- Not for snow.\n- It learned from 3 images")
    assert "| authors | Ada |" in parts["Authors, licence, versions"]
    assert "| licence | MIT |" in parts["Authors, licence, versions"]
    assert "| cite | 10.1000/1 |" in parts["Authors, licence, versions"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scores": {}}, "How well it does on images that it never saw has not been measured."),
        ({"normalization": {"mode": "image"}}, "each image by its own percentiles (0.5 % .. 99.5 % becomes -1 .. 1)"),
        ({"zoom": 0.5}, "shown to the network at 0.5 times their size"),
        ({"pixel_size": (0.5, 0.25), "units": "micrometer", "resampled": True},
         "0.5 x 0.25 micrometer a pixel; others are resampled to it"),
        ({"unlabelled": "ignore"}, "Unpainted pixels were not annotated"),
        ({"fingerprint": {"imported_from": "m.h5", "importer": "keras"}}, "by another tool, and imported (keras)"),
        ({"fingerprint": {"images": "many", "height": [1], "annotated_pixels": None}}, "## Training data"),
    ],
)  # fmt: skip
def test_it_says_what_is_special(changes, says):
    assert says in model_card(info(**changes))


def test_of_an_imported_model_no_configuration_is_shown():
    assert "```yaml" not in model_card(info(fingerprint={"imported_from": "m.h5"}))


def test_names_can_not_break_its_tables():
    classes = [
        {"value": 0, "name": "a | b", "colour": "#000000"},
        {"value": 1, "name": "two\nlines", "colour": "#ffffff"},
    ]
    text = model_card(info(classes=classes))
    assert "| 0 | a \\| b | #000000 |" in text
    assert "| 1 | two lines | #ffffff |" in text


def test_an_ensemble_lists_its_models():
    networks = [build_network("plain-unet", channels=2, outputs=2, options=TINY) for _ in range(2)]
    both, _ = join_models([(info(scores={"val_dice": 0.5 + n / 10}), one) for n, one in enumerate(networks)])
    text = model_card(both)
    assert default_name(both) == "class 1 (2 x plain-unet)"
    assert "| model 1 | 0.5000 |\n| model 2 | 0.6000 |" in text
    assert "| model 2, images | 3 |" in text


def test_it_is_written_for_any_model_file(tmp_path):
    write_model(tmp_path / "m.safetensors", info(), build_network("plain-unet", channels=2, outputs=2, options=TINY))
    report = export_model(tmp_path / "m.safetensors", tmp_path / "new" / "card.md", "card", ExportConfig(name="Leaves"))
    assert report.path.read_text().startswith("# Leaves\n")
    assert export_model(tmp_path / "m.safetensors", tmp_path / "new", "card").files == ("model_card.md",)
    assert (tmp_path / "new" / "model_card.md").read_text() == model_card(read_info(tmp_path / "m.safetensors"))
    with pytest.raises(SegNetError, match="can't be written"):
        export_model(tmp_path / "m.safetensors", tmp_path / "m.safetensors" / "card.md", "card")
    with pytest.raises(ConfigError, match="name = 'abc'"):
        read_options(["name=abc"])
