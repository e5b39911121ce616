"""What relay and publisher say to each other about a request.

The relay calls `request` of the publisher's root, with a copy of the request whose attribute `remote` is a
reference to the response. The publisher calls that one's setResponseCode, setHeader, addCookie, write, finish
and more. The body is an attribute of the copy. One that is longer than a string may be is sent by
`request_streamed`, a method of ours which takes a second argument: an object whose `read` gives the next
piece of the body, b"" at its end. A publisher that is not ours lacks it.
"""

from __future__ import annotations

import re
import typing
import urllib.parse

from portable.transport import Address
from protocols.http.grammar import check_field_line, check_host, check_request_line
from protocols.http.headers import Headers, list_members
from protocols.http.request import Request
from protocols.http.rules import RefusedRequest
from protocols.pb import InsecureJelly, Registry, RemoteReference, Unpersistable

if typing.TYPE_CHECKING:
    from protocols.pb import Referenceable

__all__ = [
    "HOP_BY_HOP",
    "MAX_PIECE",
    "NOT_DONE_YET",
    "ReceivedRequest",
    "SentRequest",
    "parse_request",
    "publisher_registry",
    "relay_registry",
]

# Bytes written, or read of a body, at once: a full transport's buffer.
MAX_PIECE = 64 * 1024
# What `request` answers: the page comes by calls of `write`.
NOT_DONE_YET = 1
# Fields of one connection (RFC 9110 7.6.1), and those that the server at each end makes itself.
HOP_BY_HOP = frozenset(
    (
        *("connection", "date", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "server", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)

# The name of the copy on the wire.
_REQUEST = "twisted.web.server.Request"
# Fields of a form in a query or a body. A browser's have a dozen.
_MAX_FIELDS = 1000
# What a literal address is made of, with its scope. Anything else could forge lines of the access log.
_LITERAL = re.compile("[0-9A-Fa-f.:]{2,45}(?:%[0-9A-Za-z._-]{1,32})?")
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?")


class SentRequest(typing.NamedTuple):
    """A request as a relay sends it.

    Attributes:
        request: as it came from the client.
        depth: how many segments of its path stand for the publisher itself.
        content: its body.
        response: what the publisher is to call.
    """

    request: Request
    depth: int
    content: bytes
    response: Referenceable


class ReceivedRequest:
    """A request as a publisher gets it: what the relay said, checked by nobody yet but for `remote`.

    Attributes:
        state: the attributes of the copy.
        remote: the response.
        content: the body.
    """

    def __init__(self, state: dict[str, typing.Any]) -> None:
        remote = state.get("remote")
        content = state.get("content_data")
        if not isinstance(remote, RemoteReference) or not isinstance(content, bytes):
            raise InsecureJelly("a request without a response or a body")
        self.state = state
        self.remote = remote
        self.content = content


def relay_registry() -> Registry:
    """Return what a relay may send: requests. It takes no copies."""
    registry = Registry()
    registry.send(SentRequest, _REQUEST, _state)
    return registry


def publisher_registry() -> Registry:
    """Return what a publisher takes: requests."""
    registry = Registry()
    registry.accept(_REQUEST, ReceivedRequest)
    return registry


def _state(sent: SentRequest) -> dict[str, typing.Any]:
    """Return the attributes that Twisted's requests have, as far as they tell of the request."""
    request = sent.request
    segments = [segment.encode("utf-8") for segment in request.segments]
    rest = segments[sent.depth :]
    if request.path.endswith("/"):
        rest.append(b"")
    peer = request.peer
    host, port = _split_host(request)
    named = set(list_members(request.headers.get("connection") or ""))
    fields: dict[str, list[bytes]] = {}
    for name, value in request.headers:
        if name not in HOP_BY_HOP and name not in named:
            fields.setdefault(name, []).append(value.encode("latin-1"))
    if sent.content:
        # A transfer coding is off by now (RFC 9112 7.1.3).
        fields["content-length"] = [str(len(sent.content)).encode("ascii")]
    return {
        "method": request.method.encode("ascii"),
        "uri": request.target.encode("ascii"),
        "path": request.path.encode("ascii"),
        "clientproto": f"HTTP/{request.version[0]}.{request.version[1]}".encode("ascii"),
        "client": ("INET", peer.host, peer.port) if isinstance(peer, Address) else ("INET", "", 0),
        "host": ("INET", host, port),
        "requestHeaders": [(name.encode("ascii"), values) for name, values in fields.items()],
        "responseHeaders": Unpersistable("a response is written by the calls of remote"),
        "received_cookies": _cookies(request),
        "args": _arguments(request, sent.content),
        "prepath": segments[: sent.depth],
        "postpath": rest,
        "sitepath": [],
        "cookies": [],
        "notifications": [],
        "queued": 0,
        "content_data": sent.content,
        "remote": sent.response,
    }


def _split_host(request: Request) -> tuple[str, int]:
    found = _HOST.fullmatch(request.host)
    host = found.group(1) if found is not None else ""
    port = found.group(2) if found is not None else None
    return host.strip("[]"), int(port) if port else 443 if request.secure else 80


def _cookies(request: Request) -> dict[bytes, bytes]:
    cookies: dict[bytes, bytes] = {}
    for pair in (request.headers.get("cookie") or "").split(";"):
        name, equals, value = pair.strip(" \t").partition("=")
        if equals:
            cookies[name.encode("latin-1")] = value.encode("latin-1")
    return cookies


def _arguments(request: Request, content: bytes) -> dict[bytes, list[bytes]]:
    """Return the fields of the query, and of a form in the body; none at all if there are too many."""
    text = request.query.encode("ascii")
    kind = (request.headers.get("content-type") or "").partition(";")[0].strip(" \t").lower()
    if kind == "application/x-www-form-urlencoded":
        text = text + b"&" + content if text else content
    try:
        return urllib.parse.parse_qs(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        return {}


def parse_request(received: ReceivedRequest) -> Request:
    """Return the request that a relay sent, without its body.

    The relay is not trusted: everything is checked as if it came from a client.

    Raises:
        RefusedRequest: it breaks a rule.
    """
    state = received.state
    line = f"{_latin(state.get('method'))} {_latin(state.get('uri'))} HTTP/1.1"
    method, target, _ = check_request_line(line)
    if target != "*" and not target.startswith("/"):
        raise RefusedRequest("target-form")
    version = (1, 0) if state.get("clientproto") == b"HTTP/1.0" else (1, 1)
    request = Request(method, target, _headers(state.get("requestHeaders")), version)
    host = request.headers.get("host")
    request.host = "" if host is None else check_host(host)
    request.peer = _peer(state.get("client"))
    prepath = state.get("prepath")
    request.depth = len(prepath) if isinstance(prepath, list) else 0
    if target != "*" and request.depth > len(request.segments):
        raise RefusedRequest("target-form")
    return request


def _headers(fields: object) -> Headers:
    headers = Headers()
    if not isinstance(fields, list):
        raise RefusedRequest("header-name")
    for field in fields:
        if not isinstance(field, tuple) or len(field) != 2 or not isinstance(field[1], list):
            raise RefusedRequest("header-name")
        for value in field[1]:
            name, text = check_field_line(f"{_latin(field[0])}: {_latin(value)}")
            if name not in HOP_BY_HOP:
                headers.add(name, text)
    return headers


def _peer(client: object) -> Address | str:
    if isinstance(client, tuple) and len(client) == 3 and client[0] == "INET":
        host, port = client[1], client[2]
        if not isinstance(host, str) or not isinstance(port, int):
            return ""
        if _LITERAL.fullmatch(host) and 0 <= port < 65536:
            return Address(host, port)
    return ""


def _latin(value: object) -> str:
    """Return a part of a line as the parser of HTTP has it; what is no string breaks its rules."""
    return value.decode("latin-1") if isinstance(value, bytes) else "\0"
