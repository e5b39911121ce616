"""The server of a site.

listener = reactor.listen(Site(Page(answer), clock=reactor), "127.0.0.1", 8080)
"""

from __future__ import annotations

from protocols.http.access import AccessRecord
from protocols.http.connection import HTTPServer
from protocols.http.limits import Limits
from protocols.http.site import SiteState

__all__ = ["AccessRecord", "HTTPServer", "Limits", "Site"]


class Site(SiteState):
    """Makes the protocols of its connections when called, so it can be given to `listen`.

    The arguments are those of `SiteState`.
    """

    def __call__(self) -> HTTPServer:
        """Return the protocol of a new connection."""
        return HTTPServer(self)
