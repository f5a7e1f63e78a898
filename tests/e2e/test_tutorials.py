"""Each tutorial is done as it is written: its commands and its Python run in an empty folder, and its claims hold.

In a tutorial, blocks marked ``sh`` and ``python`` are run in the order of the page; comments ``<!-- check: ... -->``
are Python that has to hold at that place, and are not seen by readers.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
PAGES = sorted(path for path in TUTORIALS.glob("*.md") if path.name != "index.md")
STEP = re.compile(r"^```(sh|python)\n(.*?)^```$|<!-- check:\n(.*?)-->", re.MULTILINE | re.DOTALL)
HEAD = "import csv, json\nfrom pathlib import Path\nimport numpy as np\n"


def steps(page):
    for found in STEP.finditer(page.read_text(encoding="utf-8")):
        kind, content, check = found.groups()
        yield (kind, content) if kind else ("check", check)


def command(kind, content):
    if kind == "sh":
        return ["bash", "-euo", "pipefail", "-c", content]
    return [sys.executable, "-c", content if kind == "python" else HEAD + content]


def test_there_are_tutorials_and_each_checks_what_it_says():
    assert {page.stem for page in PAGES} >= {"canopy", "workshop", "background", "darkfield", "stack"}
    for page in PAGES:
        kinds = [kind for kind, _ in steps(page)]
        assert kinds.count("check") >= 2, page.name
        assert kinds.count("sh") + kinds.count("python") >= 4, page.name


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(page, tmp_path):
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "160",
        "NAPARI_SEGNET_HOME": str(tmp_path / "home"),
    }
    for kind, content in steps(page):
        done = subprocess.run(
            command(kind, content), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, f"{page.name}, {kind}:\n{content}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
