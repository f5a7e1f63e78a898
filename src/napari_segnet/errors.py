"""What the user is told when something can't be done: what is wrong, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SegNetError(Exception):
    """Something that the user can mend.

    Parameters
    ----------
    problem : str
        What is wrong, with the value that is wrong.
    remedy : str, optional
        What to do about it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem.strip()
        self.remedy = remedy.strip()
        super().__init__(" ".join(part for part in (self.problem, self.remedy) if part))


class DataError(SegNetError):
    """Images or labels that can't be used as they are."""


class ModelFileError(SegNetError):
    """A model file that is damaged, hostile or made by something else."""


class ConfigError(SegNetError):
    """An option that doesn't exist, or a value that it can't take."""


class RunFolderError(SegNetError):
    """A run folder that is missing, in use, or damaged."""


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> ConfigError:
    """Make the error for a name that is not in a list, with the nearest valid names.

    Parameters
    ----------
    kind : str
        What the name stands for, such as ``"network"``.
    name : str
        The name that was asked for.
    valid : iterable of str
        The names that exist.

    Returns
    -------
    ConfigError
        An error to raise; up to twelve names are listed.
    """
    names = sorted(valid)
    near = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=3, cutoff=0.5)
    if near:
        hint = "Did you mean " + " or ".join(repr(n) for n in near) + "?"
    else:
        more = f" ... ({len(names)} in all)" if len(names) > 12 else ""
        hint = "Valid names: " + ", ".join(names[:12]) + more + "."
    return ConfigError(f"There is no {kind} called {name!r}.", hint)
