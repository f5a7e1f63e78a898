"""JSON, CSV and XML of other programs: read safely, with a sentence where they are damaged."""

from __future__ import annotations

import csv
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from xml.parsers import expat

from napari_segnet.errors import DataError

_LARGEST = 2 * 2**30
_LONGEST_FIELD = 2**27
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; raises `DataError` if it holds no JSON.

    The last file is kept: several importers look at it before one reads it.
    """
    return _read_json(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read_json(path: Path, _changed: int) -> Any:
    try:
        text = _text(path)
        return _storable(json.loads(text)) if _SURROGATE.search(text) else json.loads(text)
    except ValueError as error:  # a number of thousands of digits is one, too
        raise DataError(f"{path} is no JSON: {error}.", "Save it again from the program that made it.") from error
    except RecursionError as error:
        raise DataError(f"{path} is nested too deeply.", "Save it again from the program that made it.") from error


def _storable(tree: Any) -> Any:
    """Replace halves of characters, which JSON can say and no file can hold."""
    text = json.dumps(tree, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.loads(text.encode(errors="replace"))
    return tree


def damage(path: Path) -> DataError | None:
    """Say what is wrong with a file that should be JSON or XML by its name; None if it is, or needn't be."""
    try:
        if path.name.lower().endswith((".json", ".geojson")):
            read_json(path)
        elif path.name.lower().endswith(".xml"):
            read_xml(path)
    except DataError as error:
        return error
    return None


def is_json(path: Path, suffixes: tuple[str, ...] = (".json",)) -> bool:
    """Say whether a file has the name of a JSON file and holds JSON."""
    if not path.name.lower().endswith(suffixes):
        return False
    try:
        read_json(path)
    except DataError:
        return False
    return True


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file by the names in its first line; raises `DataError` if it can't be read."""
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        rows = csv.DictReader(_text(path).splitlines())
        return [{(key or "").strip("#").strip(): value or "" for key, value in row.items()} for row in rows if row]
    except csv.Error as error:
        raise DataError(f"{path} is no CSV table: {error}.", "Save it again.") from error


def read_xml(path: Path) -> ET.Element:
    """Return the root of an XML file; raises `DataError` if it is damaged, or defines entities (they can blow up)."""
    parser = expat.ParserCreate()
    tree = ET.TreeBuilder()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > 100:
            raise DataError(f"{path} is nested too deeply.", "Save it again from the program that made it.")
        tree.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        tree.end(name)

    def refuse(*_: object) -> None:
        raise DataError(f"{path} defines entities of its own.", "Save it without them.")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, tree.data
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(_text(path), True)
        return tree.close()
    except (expat.ExpatError, AssertionError) as error:
        raise DataError(f"{path} is no XML: {error}.", "Save it again from the program that made it.") from error


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise DataError(f"{path} has {size / 1e9:.1f} GB: too much to be read at once.", "Split it.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}.", "Check the name.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8.", "Save it as UTF-8.") from error
