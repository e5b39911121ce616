"""Completing names: those of the namespace, of Python, and the attributes of what they stand for."""

from __future__ import annotations

import builtins
import keyword
import re
import typing

__all__ = ["complete"]

# The word before the cursor, and the names with dots before it. Nothing is called: a Tab must not do anything.
_NAMES = re.compile(r"(?<![\w.])((?:[^\W0-9]\w*\.)*)(\w*)\Z")


def complete(before: str, namespace: typing.Mapping[str, typing.Any]) -> tuple[int, list[str]]:
    """Return where the last word of `before` begins, and what it may become, sorted.

    Names that begin with an underscore are there only for a word that does, too. Attributes are looked up,
    which runs code where a class has its own ways (`__getattr__`, properties, `__dir__`): call this where
    statements run.
    """
    found = _NAMES.search(before)
    if found is None:
        return len(before), []  # an attribute of what would have to be computed
    owner, word = found.groups()
    start = len(before) - len(word)
    if owner:
        names = _attributes(owner[:-1].split("."), namespace)
    else:
        names = [*keyword.kwlist, *dir(builtins), *namespace]
    # `dir` may tell anything; what is no name cannot be typed, and may have control characters.
    fitting = {
        name for name in names if isinstance(name, str) and name.startswith(word) and name.isidentifier()
    }
    if not word.startswith("_"):
        fitting = {name for name in fitting if not name.startswith("_")}
    return start, sorted(fitting)


def _attributes(path: typing.Sequence[str], namespace: typing.Mapping[str, typing.Any]) -> list[typing.Any]:
    try:
        value: typing.Any = namespace[path[0]] if path[0] in namespace else getattr(builtins, path[0])
        for name in path[1:]:
            value = getattr(value, name)
        return list(dir(value))
    except (Exception, SystemExit):  # noqa: BLE001 - whatever it raises: nothing to complete
        return []
