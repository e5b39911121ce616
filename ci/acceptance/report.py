"""The matrix of servers, clients and runtimes."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from ci.acceptance.running import Result

__all__ = ["matrix"]


def matrix(results: list[Result], *, only_wrong: bool = False) -> list[str]:
    """Return the lines of a table: a row for each client, a column for each runtime, with seconds."""
    runtimes = list(dict.fromkeys(each.runtime for each in results if each.runtime != "all"))
    found = {(each.server, each.client, each.runtime): each for each in results}
    rows = list(dict.fromkeys((each.server, each.client) for each in results if each.client != "*"))
    width = max([len(client) + 2 for _, client in rows] + [len(server) for server, _ in rows] + [6])
    lines = [" " * width + "".join(f"  {name:15}" for name in runtimes)]
    last = ""
    for server, client in rows:
        fields = [
            found.get((server, client, name))
            or found.get((server, client, "all"))
            or found.get((server, "*", name))
            for name in runtimes
        ]
        if only_wrong and not any(field and field.status in {"failed", "differs"} for field in fields):
            continue
        if server != last:
            lines.append(server)
            last = server
        cells = "".join(f"  {_cell(field):15}" for field in fields)
        lines.append(f"  {client:{width - 2}}{cells}".rstrip())
    return lines


def _cell(result: Result | None) -> str:
    if result is None:
        return "-"
    return result.status if result.status == "missing" else f"{result.status:7} {result.seconds:5.2f}"
