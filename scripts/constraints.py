"""Write requirements/constraints.txt anew: what is installed beside this Python, and what else was pinned before.

Packages that are not installed here (another Qt binding, the documentation's) keep their pins.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "requirements" / "constraints.txt"
_TOOLS = {"pip", "setuptools", "build", "pyproject-hooks"}


def main() -> None:
    """Merge the old pins and the installed versions."""
    command = [sys.executable, "-m", "pip", "freeze", "--exclude-editable"]
    installed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    old = FILE.read_text(encoding="utf-8").splitlines()
    head = [line for line in old if line.startswith("#")]
    pins = {_key(line): line for line in [*old, *installed] if "==" in line and not line.startswith("#")}
    # A local version such as +cpu names a build, and is on no index but its own.
    lines = [re.sub(r"\+\w+$", "", line) for key, line in pins.items() if key not in _TOOLS]
    FILE.write_text("\n".join([*head, *sorted(lines, key=str.lower)]) + "\n", encoding="utf-8")


def _key(line: str) -> str:
    return re.sub(r"[-_.]+", "-", line.split("==")[0]).lower()


if __name__ == "__main__":
    main()
