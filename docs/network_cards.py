"""Write the pages on networks, losses, optimizers, schedules and settings from the tables that the program uses.

Usage: ``make cards``, or ``python docs/network_cards.py``. Takes about ten seconds; no image is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_segnet.config import Frozen
from napari_segnet.models.catalogue import NETWORKS, NetworkSpec
from napari_segnet.models.size import Size, measure
from napari_segnet.option_rows import OptionRow, option_rows
from napari_segnet.settings_table import prediction_settings, training_settings
from napari_segnet.training.loss_catalogue import LOSSES, LossSpec
from napari_segnet.training.optimizers import OPTIMIZERS
from napari_segnet.training.schedule import SCHEDULES

FOLDER = Path(__file__).resolve().parent
NETWORKS_PAGE = FOLDER / "networks.md"
CHOICES_PAGE = FOLDER / "reference_choices.md"
SETTINGS_PAGE = FOLDER / "reference_settings.md"
_MADE = (
    "<!-- Written by docs/network_cards.py from the program's own tables: change those, then run `make cards`. -->\n"
)

_NETWORKS_HEAD = f"""{_MADE}
# Networks

`napari-segnet train IMAGES LABELS --out RUN --network NAME`, or *Advanced* in the viewer. At the shell
`napari-segnet networks` lists them, and `napari-segnet networks NAME` says what follows here of one.

**Parameters** are the learned numbers, counted with the options as they are and two outputs: on images of three
channels, for networks of volumes (ZYX) of one. **Work** is the multiply-adds of convolutions, matrix products and
attention in one image of 256 x 256 pixels, or one volume of 64 x 64 x 64 voxels; what others call FLOPs is often twice
as many. Normalization, activations, pooling and interpolation are not in it, so it says roughly, and not exactly, which
network is faster. Where an encoder can be chosen, both are those with the one that is named; `--encoder` takes all of
`napari-segnet encoders`, and timm's as `tu-NAME`.

| network | axes | encoder | parameters | work |
|---|---|---|---|---|
"""

_CHOICES_HEAD = f"""{_MADE}
# Losses, optimizers, schedules

Each is chosen by its name, `--loss`, `--optimizer` and `--schedule`, and its options with `--set`, such as
`--loss focal --set train.loss_options.gamma=3`. In a file for `--config`:

```yaml
train:
  loss: focal
  loss_options: {{gamma: 3}}
```
"""


_SETTINGS_HEAD = f"""{_MADE}
# Settings

What `--set KEY=VALUE`, a file for `--config` and `settings=` in Python take; `napari-segnet settings` lists them at the
shell, `napari-segnet settings WORD` those about something. In the viewer they are under *Advanced*. Values are written
as in YAML: `true`, `1e-3`, `[0, 11]`. What the preset chooses is said at the start of a run, and why.
"""


def main() -> None:
    """Write all pages."""
    NETWORKS_PAGE.write_text(networks_page(), encoding="utf-8")
    CHOICES_PAGE.write_text(choices_page(), encoding="utf-8")
    SETTINGS_PAGE.write_text(settings_page(), encoding="utf-8")


def networks_page() -> str:
    """Return the page on networks: a table of all, and a card each."""
    sizes = {name: measure(name) for name in NETWORKS}
    table = "".join(table_row(spec, sizes[spec.name]) for spec in NETWORKS.values())
    return _NETWORKS_HEAD + table + "".join(card(spec, sizes[spec.name]) for spec in NETWORKS.values())


def table_row(spec: NetworkSpec, size: Size) -> str:
    """Return a network's row of the table."""
    words = (f"[{spec.name}](#{spec.name})", spec.axes, spec.encoder or "-", millions(size), work(size))
    return f"| {' | '.join(words)} |\n"


def card(spec: NetworkSpec, size: Size) -> str:
    """Return a network's card."""
    lines = [f"\n## {spec.name}\n", f"{spec.idea}\n", f"- When: {spec.when}", f"- Paper: {spec.paper}"]
    if spec.encoder:
        lines.append(f"- Encoder: {spec.encoder}, or another")
    shape = " x ".join(map(str, size.shape))
    lines += [
        f"- Axes: {spec.axes}",
        f"- Parameters: {size.parameters:,} (channels: {size.channels}, outputs: {size.outputs})",
        f"- Work: {work(size)} multiply-adds at {shape}",
    ]
    if spec.parameters:
        lines.append(f"- Published size: {spec.parameters}")
    return "\n".join(lines) + "\n" + option_table(spec.options_model(), "model.options")


def millions(size: Size) -> str:
    """Say how many parameters, in millions."""
    return f"{size.parameters / 1e6:.2f} M"


def work(size: Size) -> str:
    """Say how many multiply-adds, in thousands of millions, to three digits."""
    return f"{float(f'{size.work / 1e9:.3g}'):g} G"


def option_table(options: type[Frozen], place: str) -> str:
    """Return a table of options, which are set in `place`."""
    rows = option_rows(options)
    return table_of(f"`{place}.`", rows) if rows else "\nIt has no options.\n"


def table_of(head: str, rows: Sequence[OptionRow]) -> str:
    """Return a table of options."""
    lines = [
        f"| `{row.name}` | {row.values} | {row.default} | {row.meaning.replace('|', '/') or '-'} |\n" for row in rows
    ]
    return "".join([f"\n| {head} | values | default | meaning |\n|---|---|---|---|\n", *lines])


def choices_page() -> str:
    """Return the page on losses, optimizers and schedules."""
    parts = [_CHOICES_HEAD, "\n## Losses: train.loss\n"]
    parts += [loss_card(loss) for loss in LOSSES.values()]
    parts.append(
        "\n## Optimizers: train.optimizer\n\nThe presets choose the learning rate: rate is what that "
        "for adamw is multiplied by. Weight decay is what there is unless `train.weight_decay` is set.\n"
    )
    for optimizer in OPTIMIZERS.values():
        facts = f"- Rate: {optimizer.rate:g}; weight decay: {optimizer.decay:g}\n"
        parts.append(_entry(optimizer.name, optimizer.idea, optimizer.paper, facts))
        parts.append(option_table(optimizer.options, "train.optimizer_options"))
    parts.append("\n## Schedules: train.schedule\n")
    for schedule in SCHEDULES.values():
        parts.append(_entry(schedule.name, schedule.idea, schedule.paper))
        parts.append(option_table(schedule.options, "train.schedule_options"))
    return "".join(parts)


def settings_page() -> str:
    """Return the page on settings."""
    training, prediction = table_of("key", training_settings()), table_of("key", prediction_settings())
    return f"{_SETTINGS_HEAD}\n## For train\n{training}\n## For predict\n{prediction}"


def loss_card(loss: LossSpec) -> str:
    """Return what there is to say of a loss."""
    aliases = f"- Other names: {', '.join(loss.aliases)}\n" if loss.aliases else ""
    return _entry(loss.name, loss.idea, loss.paper, aliases) + option_table(loss.load(), "train.loss_options")


def _entry(name: str, idea: str, paper: str, facts: str = "") -> str:
    source = f"- Paper: {paper}\n" if paper != "-" else ""
    bullets = f"\n{source}{facts}" if source or facts else ""
    return f"\n### {name}\n\n{idea}\n{bullets}"


if __name__ == "__main__":
    main()
