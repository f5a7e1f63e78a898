import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch
from pydantic import Field
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from napari_segnet import completion
from napari_segnet.cli import run
from napari_segnet.config import AugmentConfig, Frozen
from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.models.registry import build_network
from napari_segnet.models.size import measure
from napari_segnet.option_rows import option_rows
from napari_segnet.settings_table import prediction_settings, training_settings
from napari_segnet.training.loss_catalogue import LOSSES
from napari_segnet.training.optimizers import OPTIMIZERS
from napari_segnet.training.schedule import SCHEDULES

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def cards():
    spec = importlib.util.spec_from_file_location("network_cards", DOCS / "network_cards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page():
    return (DOCS / "networks.md").read_text(encoding="utf-8")


def test_the_page_has_a_card_of_each_network_in_order(page):
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == list(NETWORKS), "run `make cards`"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_card_is_up_to_date(name, cards, page):
    spec, size = NETWORKS[name], measure(name)
    assert cards.card(spec, size) in page, "run `make cards`"
    assert cards.table_row(spec, size) in page, "run `make cards`"


def test_the_page_of_losses_optimizers_and_schedules_is_up_to_date(cards):
    page = (DOCS / "reference_choices.md").read_text(encoding="utf-8")
    assert page == cards.choices_page(), "run `make cards`"
    assert re.findall(r"^### (.+)$", page, re.MULTILINE) == [*LOSSES, *OPTIMIZERS, *SCHEDULES]


def test_parameters_are_those_of_a_published_summary():
    assert measure("workshop-unet", outputs=1).parameters == 1_941_105  # Keras' summary


def test_transformers_that_compute_while_they_are_built_are_measured_too():
    network = build_network("segformer", channels=3, outputs=2)
    assert measure("segformer").parameters == sum(p.numel() for p in network.parameters())


def test_work_of_a_network_is_that_of_its_convolutions():
    found = {}

    def count(module, inputs, output):
        if isinstance(module, torch.nn.Conv2d):
            found[module] = output.numel() * module.weight[0].numel()

    network = build_network("plain-unet", channels=3, outputs=2).eval()
    for module in network.modules():
        module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 3, 64, 64))
    assert measure("plain-unet", side=64).work == sum(found.values())


def test_attention_is_counted():
    q = torch.empty(1, 2, 50, 8, device="meta")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        F.scaled_dot_product_attention(q, q, q)
    assert counter.get_total_flops() == 2 * (2 * 2 * 50 * 50 * 8)


def test_work_grows_with_the_pixels_and_sides_are_rounded_up():
    small, large = measure("plain-unet", side=64), measure("plain-unet", side=128)
    assert large.work == 4 * small.work
    assert measure("fcn-8s", side=40).shape == (64, 64)
    assert measure("unet3d").shape == (64, 64, 64)


class Example(Frozen):
    width: int = Field(4, ge=1, le=8, multiple_of=2, description="Channels.")
    rate: float = Field(0.5, ge=0, lt=1)
    kind: Literal["a", "b"] = "a"
    deep: bool = False
    weight: float | None = Field(None, gt=0, le=2)
    shares: tuple[float, ...] = ()
    name: str


def test_options_become_words():
    assert [(row.name, row.values, row.default) for row in option_rows(Example)] == [
        ("width", "integer, 1 to 8, a multiple of 2", "4"),
        ("rate", "number, at least 0, below 1", "0.5"),
        ("kind", "a, b", "a"),
        ("deep", "true or false", "false"),
        ("weight", "number, above 0, at most 2 or none", "none"),
        ("shares", "list: number", "none"),
        ("name", "text", "has to be given"),
    ]
    assert option_rows(Example)[0].meaning == "Channels."


def test_the_page_of_settings_is_up_to_date_and_knows_all_of_them(cards):
    page = (DOCS / "reference_settings.md").read_text(encoding="utf-8")
    assert page == cards.settings_page(), "run `make cards`"
    rows = {row.name: row for row in training_settings()}
    offered = {name.rstrip("=.") for name, _ in completion.settings("")}
    assert set(rows) == offered
    assert all(f"`{name}`" in page for name in rows)
    assert rows["train.patch_size"].default == "the preset's"
    assert rows["train.augment.flip"].values == "true or false or left-right, up-down"
    assert rows["train.augment.flip"].default == "true"
    assert {"tile", "crf_options.iterations"} <= {row.name for row in prediction_settings()}


def test_settings_are_listed_at_the_shell(capsys):
    assert run(["settings", "augment", "--plain"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"train.augment.{name}" for name in AugmentConfig.model_fields]
    assert run(["settings", "frobnicate"]) == 2
    assert "No setting has 'frobnicate' in its name or meaning" in capsys.readouterr().err


def test_networks_losses_and_settings_are_completed_without_torch():
    code = """
import sys
from napari_segnet import completion as c
assert [name for name, _ in c.networks("fc-")] == ["fc-densenet56", "fc-densenet67", "fc-densenet103"]
assert "focal" in [name for name, _ in c.losses("fo")]
assert [name for name, _ in c.optimizers("adaw")] == []
assert "cosine" in [name for name, _ in c.schedules("c")]
assert "train.loss=focal" in [name for name, _ in c.settings("train.loss=fo")]
assert "train.loss_options." in [name for name, _ in c.settings("train.lo")]
assert [name for name, _ in c.settings("train.averaging=s")] == ["train.averaging=swa"]
assert [name for name, _ in c.settings("train.augment.flip=t")] == ["train.augment.flip=true"]
assert [name for name, _ in c.settings("train.augment.flip=l")] == ["train.augment.flip=left-right"]
assert [name for name, _ in c.networks_or_auto("a")] == ["auto", "attention-unet", "attention-unet3d"]
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_encoders_are_completed():
    assert [name for name, _ in completion.encoders("resnet1")] == ["resnet101", "resnet152", "resnet18"]
    assert "tu-resnet18" in [name for name, _ in completion.encoders("tu-resn")]
    assert ("tu-", "those of timm") in completion.encoders("t")


def test_the_command_line_tells_everything_of_one_network(capsys):
    assert run(["networks", "FC-DenseNet56"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("parameters" in line and "1,375,058" in line for line in lines)
    assert any(re.search(r"model\.options\.growth +integer, 1 to 128 +12 +Channels", line) for line in lines)
    assert run(["networks", "unet", "--plain"]) == 0
    assert capsys.readouterr().out.split() == ["model.options.depth", "model.options.decoder_width"]
    assert run(["networks", "fc-densnet56"]) == 2
    assert "Did you mean 'fc-densenet56'" in capsys.readouterr().err


def test_the_command_line_completes_names():
    environment = {**os.environ, "_NAPARI_SEGNET_COMPLETE": "complete_bash", "COMP_CWORD": "5"}
    command = [sys.executable, "-c", "from napari_segnet.cli import app; app(prog_name='napari-segnet')"]
    for option, start, found in (("--network", "segn", "segnet segnet-basic"), ("--loss", "focal-", "focal-tversky")):
        words = {"COMP_WORDS": f"napari-segnet train a b {option} {start}"}
        done = subprocess.run(command, env=environment | words, capture_output=True, text=True, check=False)
        assert done.stdout.split() == found.split()
