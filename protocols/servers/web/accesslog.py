"""The access log, in the combined format that every log reader knows.

One line for each request:

    127.0.0.1 - - [23/Nov/2026:13:55:36 +0000] "GET /x HTTP/1.1" 200 2326 "http://example/" "Mozilla/5.0"
"""

from __future__ import annotations

import typing

from portable.recordlog import RecordLog, clf_peer, clf_time, escape

if typing.TYPE_CHECKING:
    from protocols.http.access import AccessRecord

__all__ = ["AccessLog", "combined_line"]


def combined_line(record: AccessRecord) -> str:
    """Return the line of one request, without its end. The time is in UTC."""
    request = f"{escape(record.method)} {escape(record.target)} {record.version}".strip() or "-"
    referer = escape(record.referer) if record.referer else "-"
    agent = escape(record.user_agent) if record.user_agent else "-"
    size = record.bytes_sent or "-"
    head = f"{clf_peer(record.peer)} - - [{clf_time(record.time)}]"
    return f'{head} "{request}" {record.status} {size} "{referer}" "{agent}"'


class AccessLog(RecordLog):
    """Appends a line to a file for each record that it is called with."""

    def __init__(self, path: str) -> None:
        """See `RecordLog`."""
        super().__init__(path, "access log")

    def __call__(self, record: AccessRecord) -> None:
        """Add the line of `record`."""
        self.add(combined_line(record))
