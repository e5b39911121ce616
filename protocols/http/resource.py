"""Resources: the objects that requests find by path, and the answers every site needs."""

from __future__ import annotations

import html
import re
import typing

from protocols.http.messages import REASONS, Response

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from protocols.http.request import Request

__all__ = [
    "PAGE_STYLE",
    "Page",
    "Resource",
    "Tree",
    "allow_options",
    "error_page",
    "find_resource",
    "method_not_allowed",
    "redirect",
]


class Resource(typing.Protocol):
    """Something that can be asked for, and may have others beneath it."""

    def child(self, segment: str, request: Request) -> Resource | None:
        """Return what stands under the name `segment`, or None: the client gets status 404.

        Args:
            segment: decoded and checked (see `Request.segments`).
        """

    def render(self, request: Request) -> Rendered:
        """Return the response, or a Deferred or coroutine of it. Also for methods this resource does not know:
        `method_not_allowed` is the answer to those.

        An error becomes status 500 and is logged; RefusedRequest becomes its own status. If the client goes
        away, what was returned is cancelled.
        """


def find_resource(root: Resource, request: Request) -> Resource | None:
    """Return the resource that `request.segments` lead to from `root`, or None. See `Request.depth`.

    Raises:
        RefusedRequest: the path is not acceptable.
    """
    resource: Resource | None = root
    for segment in request.segments[request.depth :]:
        if resource is None:
            return None
        resource = resource.child(segment, request)
    return resource


class Page:
    """One resource without children, made by a callable.

    Args:
        answer: gets the request, returns what `Resource.render` may.
        methods: the methods that reach `answer`. HEAD comes with GET; OPTIONS is answered here.
    """

    __slots__ = ("_allowed", "_answer")

    def __init__(
        self, answer: typing.Callable[[Request], Rendered], methods: typing.Iterable[str] = ("GET",)
    ) -> None:
        self._answer = answer
        allowed = set(methods)
        if "GET" in allowed:
            allowed.add("HEAD")
        self._allowed = frozenset(allowed)

    def child(self, segment: str, request: Request) -> Resource | None:
        """Return None."""
        return None

    def render(self, request: Request) -> Rendered:
        """Return the callable's answer."""
        if request.method in self._allowed:
            return self._answer(request)
        if request.method == "OPTIONS":
            return allow_options(self._allowed)
        return method_not_allowed(self._allowed)


class Tree:
    """Resources by name, like a folder. Asked for itself, it answers as its index does.

    Args:
        index: what is shown for the folder itself; None gives status 404.
    """

    def __init__(self, index: Resource | None = None) -> None:
        self._index = index
        self._children: dict[str, Resource] = {}

    def put_child(self, segment: str, resource: Resource) -> None:
        """Show `resource` under the name `segment` (decoded), instead of any earlier one.

        Raises:
            ValueError: no request could ever reach that name.
        """
        if segment in {"", ".", ".."} or re.search(r"[\x00-\x1f\x7f/\\]", segment):
            raise ValueError(f"no path has the segment {segment!r}")
        self._children[segment] = resource

    def child(self, segment: str, request: Request) -> Resource | None:
        """Return what was put under `segment`."""
        return self._children.get(segment)

    def render(self, request: Request) -> Rendered:
        """Answer as the index. Without a slash at its end, relative links would go astray: redirects there."""
        if self._index is None:
            return error_page(404)
        if not request.path.endswith("/") and request.path != "*":
            query = f"?{request.query}" if request.query else ""
            return redirect(f"{request.path}/{query}", 308)
        return self._index.render(request)


# Of small pages. On the root: on the body it would leave the page white in a browser that is dark.
PAGE_STYLE = (
    "html{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;margin:15vh auto;max-width:36rem;padding:0 1rem}"
)


def error_page(status: int, detail: str = "", headers: typing.Iterable[tuple[str, str]] = ()) -> Response:
    """Return a small page that shows a status.

    Args:
        detail: a sentence for people; everything in it is escaped.
        headers: further fields.
    """
    title = html.escape(f"{status} {REASONS.get(status, 'Error')}")
    text = f"<p>{html.escape(detail)}</p>\n" if detail else ""
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n"
        f"<style>{PAGE_STYLE}</style>\n"
        f"<h1>{title}</h1>\n{text}</html>\n"
    )
    return Response(
        status,
        [("Content-Type", "text/html; charset=utf-8"), ("X-Content-Type-Options", "nosniff"), *headers],
        page.encode("utf-8"),
    )


# What may stand in Location as it is: RFC 3986's characters.
_NOT_IN_URL = re.compile(r"[^!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]")


def redirect(location: str, status: int = 303) -> Response:
    """Return a redirect to `location`, a path or URL whose parts are percent-encoded already.

    Any character that may not stand in a URL is percent-encoded, so neither a line end nor markup gets through;
    a path that begins with several slashes, which a browser would take for another host, is given only one.

    Args:
        status: 301, 302, 303, 307 or 308. 303 has the browser use GET.
    """
    location = _NOT_IN_URL.sub(_percent_encode, location)
    if location[:1] == "/":
        location = "/" + location.lstrip("/")
    shown = html.escape(location)
    response = error_page(status)
    page = typing.cast("bytes", response.body).decode("utf-8")
    page = page.replace("</html>", f'<p>It is at <a href="{shown}">{shown}</a>.</p>\n</html>')
    response.headers.add("Location", location)
    response.body = page.encode("utf-8")
    return response


def _percent_encode(match: re.Match[str]) -> str:
    return "".join([f"%{octet:02X}" for octet in match.group().encode("utf-8", "replace")])


def method_not_allowed(allowed: typing.Iterable[str]) -> Response:
    """Return status 405 with the methods that are `allowed` (RFC 9110 15.5.6)."""
    return error_page(405, headers=[("Allow", _allow(allowed))])


def allow_options(allowed: typing.Iterable[str]) -> Response:
    """Return the answer to OPTIONS: status 204 and the methods that are `allowed`."""
    return Response(204, [("Allow", _allow(allowed))])


def _allow(methods: typing.Iterable[str]) -> str:
    return ", ".join(sorted({*methods, "OPTIONS"}))


if typing.TYPE_CHECKING:
    # What `render` may return.
    Rendered = Response | Deferred[Response] | typing.Coroutine[typing.Any, typing.Any, Response]
