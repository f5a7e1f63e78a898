"""What didn't fit in a file, counted: a file of a hundred thousand regions has a table of some rows."""

from __future__ import annotations

from napari_segnet.annotations.model import Problem
from napari_segnet.axes import counted

_MOST_EXAMPLES = 3


class Tally:
    """Counts what is the same of many things, and keeps the names of the first.

    Parameters
    ----------
    file : str
        Name of the annotation file.
    noun : str
        What one of the things is called: ``"annotation"``.
    """

    def __init__(self, file: str, noun: str) -> None:
        self._file, self._noun = file, noun
        self._found: dict[tuple[str, str], list[str]] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, problem: str, done: str, which: str = "") -> None:
        """Count one thing: what is wrong with it, what was done, and what it is called."""
        key = problem, done
        self._counts[key] = self._counts.get(key, 0) + 1
        examples = self._found.setdefault(key, [])
        if which and len(examples) < _MOST_EXAMPLES:
            examples.append(which[:60])

    def problems(self) -> tuple[Problem, ...]:
        """Return a row for each kind: ``"3 annotations (4, 7, 9): no outline."``."""
        rows = []
        for (problem, done), number in self._counts.items():
            examples = self._found[problem, done]
            named = f" ({', '.join(examples)}{' ...' if number > len(examples) else ''})" if examples else ""
            rows.append(Problem(self._file, f"{counted(number, self._noun)}{named}: {problem}.", done))
        return tuple(rows)
