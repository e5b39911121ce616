"""HTTP dates (RFC 9110 5.6.7). They do not depend on the locale."""

from __future__ import annotations

import datetime
import re
import time

__all__ = ["format_date", "parse_date"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = "(?P<month>" + "|".join(_MONTHS) + ")"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
# The format to send, and the two obsolete ones that a recipient must still read. The day's name is not checked.
_FORMATS = (
    re.compile(f"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(f"[A-Z][a-z]{{5,8}}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(f"[A-Z][a-z]{{2}} {_MONTH} (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)


def format_date(seconds: float) -> str:
    """Return "Sun, 06 Nov 1994 08:49:37 GMT" for `seconds` since 1970, rounded down."""
    parts = time.gmtime(seconds)
    return (
        f"{_DAYS[parts.tm_wday]}, {parts.tm_mday:02d} {_MONTHS[parts.tm_mon - 1]} {parts.tm_year:04d} "
        f"{parts.tm_hour:02d}:{parts.tm_min:02d}:{parts.tm_sec:02d} GMT"
    )


def parse_date(text: str, now: float | None = None) -> int | None:
    """Return the seconds since 1970 that an HTTP date in any of its three formats means; None if it is none.

    Args:
        now: seconds since 1970, by default the present. A year of two digits more than 50 years after it lies
            in the past.
    """
    for pattern in _FORMATS:
        found = pattern.fullmatch(text)
        if found is not None:
            break
    else:
        return None
    year = int(found.group("year"))
    if len(found.group("year")) == 2:
        this_year = time.gmtime(time.time() if now is None else now).tm_year
        year += this_year - this_year % 100
        if year > this_year + 50:
            year -= 100
    try:
        moment = datetime.datetime(
            year,
            _MONTHS.index(found.group("month")) + 1,
            int(found.group("day")),
            int(found.group("hour")),
            int(found.group("minute")),
            # A leap second counts as the one before it: time since 1970 has none.
            int(found.group("second").replace("60", "59")),
            tzinfo=datetime.UTC,
        )
    except ValueError:
        return None
    return int((moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)).total_seconds())
