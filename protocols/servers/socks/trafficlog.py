"""The traffic log: a line for each connection, when it has ended.

It begins as the Common Log Format does, so that readers of web logs can count its lines and bytes:

    127.0.0.1 - alice [23/Nov/2026:13:55:36 +0000] "CONNECT example.com:80 SOCKS4a" 90 2326 78 0.312 \
192.0.2.7:80 "ok"

    client, user confirmed by an identd, user as the client says, begin, request, code of the reply, bytes from
    the target, bytes to the target, seconds, whom the client was connected to, what has come of it: "ok" if
    both sides have said that they are done, or else what ended it
"""

from __future__ import annotations

import typing

from portable.recordlog import RecordLog, clf_peer, clf_time, escape
from portable.transport import Address
from protocols.socks.messages import Command

if typing.TYPE_CHECKING:
    from protocols.socks.proxy import Record

__all__ = ["TrafficLog", "traffic_line"]

_COMMANDS = {command.value: command.name for command in Command}


def traffic_line(record: Record) -> str:
    """Return the line of one connection, without its end. The time is in UTC."""
    user = _word(record.user)
    ident = user if record.identified else "-"
    request = "-"
    if record.version:
        command = _COMMANDS.get(record.command, str(record.command))
        request = f"{command} {escape(str(Address(record.host, record.port)))} SOCKS{record.version}"
    code = "-" if record.code is None else record.code
    return (
        f"{clf_peer(record.peer)} {ident} {user} [{clf_time(record.started)}] "
        f'"{request}" {code} {record.received} {record.sent} {record.duration:.3f} '
        f'{_word(str(record.address or ""))} "{escape(record.result)}"'
    )


def _word(text: str) -> str:
    # A space would make two fields of it.
    return escape(text).replace(" ", "\\x20") or "-"


class TrafficLog(RecordLog):
    """Appends a line to a file for each record that it is called with."""

    def __init__(self, path: str) -> None:
        """See `RecordLog`."""
        super().__init__(path, "traffic log")

    def __call__(self, record: Record) -> None:
        """Add the line of `record`."""
        self.add(traffic_line(record))
