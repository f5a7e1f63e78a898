"""The two rules of docs/architecture.md: the viewer never imports torch, what learns never imports Qt."""

import subprocess
import sys
from pathlib import Path

import pytest

import napari_segnet

PACKAGE = Path(napari_segnet.__file__).parent
VIEWER = ("_widgets", "_layers", "_looks", "_reader", "_shapes", "_commands", "_sample_data", "_screenshot")
LEARNING = ("torch", "segmentation_models_pytorch", "timm", "monai", "torchvision")
TOOLKIT = ("qtpy", "PySide6", "PyQt6", "napari", "magicgui", "pyqtgraph")
# What both sides share, and so may import neither.
SHARED = (
    "request", "samples", "versions", "config", "errors", "events", "run", "axes", "channels", "presets", "io",
    "evaluation", "models/catalogue", "models/registry", "models/info", "data/labels", "data/checks",
    "data/normalization", "data/pairs", "data/split", "data/sampling", "data/duplicates", "data/resampling",
    "annotations", "datasets", "measure", "reports", "tutorials", "again", "frames", "job_loop", "script",
    "table_worker", "viewer_jobs", "models/packages", "models/card",
)  # fmt: skip


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__")
        if name not in ("__init__", "worker"):
            yield name


def side(name):
    if name.split("/")[0] in VIEWER:
        return "viewer"
    return "shared" if any(name == s or name.startswith(f"{s}/") for s in SHARED) else "learning"


def imported(names):
    """Return the top-level packages that a fresh interpreter holds after importing some of our modules."""
    dotted = [f"napari_segnet.{name.replace('/', '.')}" if name else "napari_segnet" for name in names]
    code = f"import sys\nfor m in {dotted!r}: __import__(m)\nprint(' '.join({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_the_package_costs_nothing():
    found = imported([""])
    assert not found & {*LEARNING, *TOOLKIT, "numpy", "pydantic"}


@pytest.mark.viewer
def test_the_viewers_side_never_imports_torch():
    names = [name for name in modules() if side(name) in ("viewer", "shared")]
    assert any(name.startswith("_widgets/") for name in names)
    assert not imported(names) & set(LEARNING)


def test_what_learns_never_imports_the_viewer():
    names = [name for name in modules() if side(name) in ("learning", "shared")]
    assert {"executor", "api", "cli"} <= set(names)
    assert not imported(names) & set(TOOLKIT)
