"""What a shell offers when somebody presses Tab. Only encoders need torch, and import it when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from napari_segnet.config import RunConfig
from napari_segnet.models.catalogue import NETWORKS
from napari_segnet.request import AUTO
from napari_segnet.training.loss_catalogue import LOSSES
from napari_segnet.training.optimizers import OPTIMIZERS
from napari_segnet.training.schedule import SCHEDULES


def networks(incomplete: str) -> list[tuple[str, str]]:
    """Return the networks whose names begin so, and what is special about each."""
    return [(spec.name, spec.idea) for spec in NETWORKS.values() if _begins(spec.name, incomplete)]


def networks_or_auto(incomplete: str) -> list[tuple[str, str]]:
    """Return the networks whose names begin so, and ``auto``."""
    auto = [(AUTO, "The preset chooses, by the data.")] if _begins(AUTO, incomplete) else []
    return auto + networks(incomplete)


def losses(incomplete: str) -> list[tuple[str, str]]:
    """Return the losses whose names begin so, and what each does."""
    return [(spec.name, spec.idea) for spec in LOSSES.values() if _begins(spec.name, incomplete)]


def optimizers(incomplete: str) -> list[tuple[str, str]]:
    """Return the optimizers whose names begin so, and what each does."""
    return [(spec.name, spec.idea) for spec in OPTIMIZERS.values() if _begins(spec.name, incomplete)]


def schedules(incomplete: str) -> list[tuple[str, str]]:
    """Return the schedules whose names begin so, and what each does."""
    return [(spec.name, spec.idea) for spec in SCHEDULES.values() if _begins(spec.name, incomplete)]


def encoders(incomplete: str) -> list[tuple[str, str]]:
    """Return the encoders whose names begin so; timm's hundreds only once ``tu-`` is there."""
    from napari_segnet.models.encoders import encoder_table, timm_names

    if incomplete.startswith("tu-"):
        return [(name, "timm") for name in timm_names() if _begins(name, incomplete)]
    own = [(name, weights) for name, weights in encoder_table() if _begins(name, incomplete)]
    return [*own, ("tu-", "those of timm")] if _begins("tu-", incomplete) else own


def settings(incomplete: str) -> list[tuple[str, str]]:
    """Return what ``--set`` can go on with: keys such as ``train.batch_size=``, and after that names to choose from."""
    key, equals, value = incomplete.partition("=")
    if not equals:
        return [(name, meaning) for name, (meaning, _) in _keys().items() if _begins(name, incomplete)]
    if key in _NAMES:
        return [(f"{key}={name}", idea) for name, idea in _NAMES[key](value)]
    return [(f"{key}={choice}", "") for choice in _keys().get(f"{key}=", ("", ()))[1] if _begins(choice, value)]


_NAMES: dict[str, Callable[[str], list[tuple[str, str]]]] = {
    "model.network": networks_or_auto,
    "model.encoder": encoders,
    "train.loss": losses,
    "train.optimizer": optimizers,
    "train.schedule": schedules,
}


def _begins(name: str, incomplete: str) -> bool:
    return name.startswith(incomplete)


def _keys() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the meaning and, where they are few, the values of each option of a configuration, by ``KEY=``."""
    schema = RunConfig.model_json_schema()
    definitions = schema["$defs"]

    def walk(node: dict[str, Any], prefix: str) -> Iterable[tuple[str, tuple[str, tuple[str, ...]]]]:
        for name, entry in node["properties"].items():
            if "$ref" in entry:
                yield from walk(definitions[entry["$ref"].rpartition("/")[2]], f"{prefix}{name}.")
            elif prefix:
                # Options of what is chosen by name go on with a name of their own.
                end = "." if entry.get("type") == "object" else "="
                yield f"{prefix}{name}{end}", (entry.get("description", ""), _values(entry))

    return dict(walk(schema, ""))


def _values(entry: dict[str, Any]) -> tuple[str, ...]:
    """Return the values of an option that takes few: of a choice, and of yes or no."""
    found: list[str] = []
    for part in (entry, *entry.get("anyOf", ())):
        found += ["true", "false"] if part.get("type") == "boolean" else map(str, part.get("enum", ()))
    return tuple(found)
