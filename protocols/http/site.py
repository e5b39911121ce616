"""What the connections of one site share, and what a site answers by itself."""

from __future__ import annotations

import logging
import time
import typing

from portable.logpace import LogPace
from protocols.http.access import AccessRecord
from protocols.http.encoder import HeadEncoder
from protocols.http.grammar import METHODS
from protocols.http.limits import Limits
from protocols.http.resource import allow_options, error_page, find_resource, method_not_allowed

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from protocols.http.request import Request
    from protocols.http.resource import Rendered, Resource

__all__ = ["SiteState"]

_log = logging.getLogger("protocols.http")

_NOT_TRACE = METHODS - {"TRACE"}


class SiteState:
    """What the connections of one site share: resources, limits, log, encoder.

    Args:
        resource: the root of the tree.
        clock: for the time limits.
        limits: see `Limits`.
        access_log: called once for each request, when its answer is complete or the client is gone.
        server: the value of the Server field; "" for none.
        wall_clock: gives the seconds since 1970.
    """

    def __init__(
        self,
        resource: Resource,
        *,
        clock: Clock,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        access_log: typing.Callable[[AccessRecord], object] | None = None,
        server: str = "Portable",
        wall_clock: typing.Callable[[], float] = time.time,
    ) -> None:
        self.resource = resource
        self.clock = clock
        self.limits = limits
        self.access_log = access_log
        self.wall_clock = wall_clock
        self._refusals = LogPace()
        self.encoder = HeadEncoder(server, wall_clock)

    def log_access(
        self, request: Request | None, peer: typing.Any, began: float, status: int, sent: int
    ) -> None:
        """Tell the access log of an answer, if there is one.

        Args:
            request: None if its head was not whole, or a line of it was refused.
            peer, began, status, sent: see `AccessRecord`.
        """
        if self.access_log is None:
            return
        record = AccessRecord(
            peer=peer,
            time=began,
            method=request.method if request is not None else "",
            target=request.target if request is not None else "",
            version=f"HTTP/{request.version[0]}.{request.version[1]}" if request is not None else "",
            status=status,
            bytes_sent=sent,
            referer=request.headers.get("referer") if request is not None else None,
            user_agent=request.headers.get("user-agent") if request is not None else None,
            duration=max(0.0, self.wall_clock() - began),
        )
        try:
            self.access_log(record)
        except Exception:  # noqa: BLE001 - a full disk must not stop the service
            _log.exception("the access log failed")

    def log_refusal(self, peer: typing.Any, why: object, request: Request | None = None) -> None:
        """Say in the log that a request was refused, or its client cut off; not for each under a flood."""
        count = self._refusals.count(self.clock.time())
        if count:
            where = "" if request is None else f"{request.method} {request.target}: "
            _log.info("%d request(s) refused, the last one from %s: %s%s", count, peer, where, why)

    def render(self, request: Request) -> Rendered:
        """Return what the resource that `request` names answers, or what a server answers by itself.

        Raises:
            RefusedRequest: the path is not acceptable.
            Exception: whatever the resource raises.
        """
        if request.method == "TRACE":
            # It would show a page's scripts the cookies they may not read. Rightly refused by status 405.
            return method_not_allowed(_NOT_TRACE)
        if request.target == "*":
            return allow_options(_NOT_TRACE)
        resource = find_resource(self.resource, request)
        return error_page(404) if resource is None else resource.render(request)
