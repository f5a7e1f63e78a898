"""The answer of one check."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """The answer of one check: its status, what was found, and what to do about it."""

    name: str
    status: Status
    found: str
    remedy: str = ""


def version_of(package: str) -> str:
    """Return the version of an installed package; an empty text where it is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def first_line(text: str, length: int = 200) -> str:
    """Return the first line that says something, cut to a length."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:length] if lines else ""
