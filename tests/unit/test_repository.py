"""What is around the code: metadata, the two commands, the manifest, and pages that tell the truth."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from napari_segnet.cli import app

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
posix = pytest.mark.skipif(sys.platform == "win32", reason="shell scripts and links")


def test_metadata_is_what_the_plugin_hub_reads():
    assert PROJECT["requires-python"] == ">=3.11"
    assert PROJECT["license"] == "BSD-3-Clause"
    assert "Framework :: napari" in PROJECT["classifiers"]
    assert not [c for c in PROJECT["classifiers"] if c.startswith("License ::")]  # SPDX says it
    assert len(PROJECT["description"]) < 200
    assert "\n" not in PROJECT["description"]
    assert PROJECT["readme"] == "README.md"
    assert PROJECT["entry-points"]["napari.manifest"] == {"napari-segnet": "napari_segnet:napari.yaml"}


def test_no_qt_binding_and_no_cap_on_torch_among_the_dependencies():
    names = {re.match(r"[\w.-]+", line)[0].lower(): line for line in PROJECT["dependencies"]}
    assert not {"pyqt5", "pyqt6", "pyside2", "pyside6"} & set(names)
    assert "[" not in names["napari"]
    assert "<" not in names["torch"]
    assert "==" not in names["torch"]
    assert {"pyside6", "pyqt6", "all", "cluster", "export", "docs"} <= set(PROJECT["optional-dependencies"])


def test_pyside_6_12_0_is_excluded():
    assert any("PySide6>=6.8,!=6.12.0" in line for line in PROJECT["optional-dependencies"]["pyside6"])


@posix
def test_the_manifest_is_visible_at_the_root_and_is_the_packages():
    assert (ROOT / "napari.yaml").samefile(ROOT / "src" / "napari_segnet" / "napari.yaml")
    manifest = yaml.safe_load((ROOT / "napari.yaml").read_text(encoding="utf-8"))
    assert manifest["name"] == PROJECT["name"]


def test_constraints_pin_every_package_and_name_no_build():
    lines = (ROOT / "requirements" / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert {"torch", "torchvision", "napari", "PySide6", "pytest", "ruff", "mypy"} <= set(pins)
    assert all("+" not in version for version in pins.values())
    wanted = [*PROJECT["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]
    needed = {normal(re.match(r"[\w.-]+", line)[0]) for line in wanted}
    assert needed <= {normal(name) for name in pins}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_readme_has_the_sections_that_a_visitor_looks_for():
    headings = re.findall(r"^## (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert headings == [
        "Who it is for, and which data",
        "Install",
        "The first five minutes",
        "Two commands",
        "At a shell",
        "From Python",
        "Limits",
        "Citation",
        "Help",
        "Licence",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_pictures_of_a_page_exist(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []


def test_the_reference_of_the_command_line_names_every_command_and_option():
    text = (ROOT / "docs" / "cli.md").read_text()
    commands = get_command(app).commands
    missing = [name for name in commands if f"napari-segnet {name}" not in text]
    for name, command in commands.items():
        options = [max(p.opts, key=len) for p in command.params if p.opts[0].startswith("-")]
        missing += [f"{name} {option}" for option in options if f"`{option}" not in text and f"[{option}" not in text]
    assert missing == []


@posix
@pytest.mark.parametrize("script", ["scripts/setup.sh", "scripts/display.sh", ".ci/run"])
def test_scripts_can_be_run(script):
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / script], check=True)


def test_ci_runs_linters_and_demo_before_the_tests():
    text = (ROOT / ".ci" / "run").read_text()
    assert re.search(r"for step in lint demo;.*make .*test", text, re.DOTALL)
    makefile = (ROOT / "Makefile").read_text()
    for tool in ("ruff check", "ruff format --check", "mypy", "npe2 validate napari_segnet"):
        assert tool in makefile


@pytest.fixture
def bare_path(tmp_path):
    """A PATH with a shell and little else: no Xvfb, no package manager."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("bash", "uname", "id", "grep", "find", "head", "tail", "mktemp", "rm", "env", "touch"):
        (folder / tool).symlink_to(shutil.which(tool))
    return str(folder)


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems need no virtual display")


@linux
def test_without_a_display_it_names_what_to_install_and_runs_nothing(bare_path, tmp_path):
    mark = tmp_path / "was-run"
    done = subprocess.run(
        [ROOT / "scripts" / "display.sh", "touch", mark],
        env={"PATH": bare_path, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "xvfb-run" in done.stderr
    assert "Please run" in done.stderr
    assert not mark.exists()


@linux
def test_the_virtual_display_gives_a_display_and_hands_on_the_exit_code(tmp_path):
    if shutil.which("xvfb-run") is None:
        pytest.skip("make test has made sure of it; here it is not installed")
    done = subprocess.run(
        [ROOT / "scripts" / "display.sh", "--virtual", "sh", "-c", 'echo "$DISPLAY" > "$0"; exit 7', tmp_path / "out"],
        check=False,
    )
    assert done.returncode == 7
    assert (tmp_path / "out").read_text().startswith(":")


@posix
def test_setup_refuses_an_old_python(tmp_path):
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for tool in ("bash", "dirname", "mktemp", "rm", "uname"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    done = subprocess.run(
        [ROOT / "scripts" / "setup.sh"],
        env={"PATH": str(tmp_path), "VENV": str(tmp_path / "venv")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Python 3.11" in done.stderr
    assert not (tmp_path / "venv").exists()
