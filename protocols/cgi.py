"""CGI/1.1 (RFC 3875), both halves: what a script is told in its environment, and what its output means.

No process is started here. Of the environment, nothing is inherited; of the request's header fields, those are
left out that are none of a script's business, and those whose names could be taken for others.
"""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass

from portable.errors import RemoteProtocolError
from portable.framing import LineEnding, LineReader
from portable.transport import Address
from protocols.http.grammar import check_field_line, check_request_line
from protocols.http.headers import Headers
from protocols.http.request import Request
from protocols.http.rules import RefusedRequest

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_FIELDS", "MAX_HEAD", "MAX_LINE", "PATH", "Head", "HeadParser", "environment", "redirected"]

# Where scripts, and "#!/usr/bin/env", look for programs.
PATH = "/usr/local/bin:/usr/bin:/bin"
# Of a script's header block. Bytes of one line, bytes in all, lines: as much as we allow clients to send.
MAX_LINE = 8192
MAX_HEAD = 32768
MAX_FIELDS = 100

# Passwords are the server's business (RFC 3875 9.2), "Proxy" would become HTTP_PROXY, by which many programs
# choose whom to ask for everything (httpoxy, CVE-2016-1000111). The rest has a name of its own, or is about the
# connection.
_NOT_PASSED = frozenset(
    [
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "keep-alive",
        "proxy",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
# "X-Real_IP" and "X-Real-IP" would be one name in an environment.
_PASSED_NAME = re.compile("[a-z0-9-]+")
# What a script may not say: it is the server's.
_OURS = frozenset(
    [
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-connection",
        "server",
        "status",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
# Those that mean something to us; each may be said once (RFC 3875 6.3).
_CGI_FIELDS = ("content-type", "location", "status", "content-length")
_STATUS = re.compile("([2-5][0-9][0-9])(?: .*)?")
_DIGITS = re.compile("[0-9]{1,18}")
_ABSOLUTE = re.compile("[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_VISIBLE = re.compile("[!-~]+")


def environment(
    request: Request,
    *,
    script_name: Sequence[str],
    path_info: str,
    root: str,
    filename: str,
    body_length: int,
) -> dict[str, str]:
    """Return the whole environment of a script (RFC 3875 4.1), with what PHP and others expect beside it.

    Text that came in the request and is not UTF-8 is left out.

    Args:
        script_name: the decoded segments of the path that name the script.
        path_info: the decoded rest of the path; "" or beginning with a slash.
        root: the folder that the site's paths begin in.
        filename: of the script.
        body_length: bytes that the script can read, after the transfer coding was taken off (RFC 3875 4.1.2).
    """
    server_name, server_port = _server(request)
    remote = request.peer.host if isinstance(request.peer, Address) else ""
    environ = {
        "PATH": PATH,
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "Portable",
        "SERVER_PROTOCOL": f"HTTP/{request.version[0]}.{request.version[1]}",
        "SERVER_NAME": server_name,
        "SERVER_PORT": server_port,
        "REQUEST_METHOD": request.method,
        "REQUEST_URI": f"{request.path}?{request.query}" if request.query else request.path,
        "QUERY_STRING": request.query,
        "SCRIPT_NAME": "/" + "/".join(script_name) if script_name else "",
        "SCRIPT_FILENAME": filename,
        "DOCUMENT_ROOT": root,
        "REMOTE_ADDR": remote,
        "REMOTE_HOST": remote,
    }
    if isinstance(request.peer, Address):
        environ["REMOTE_PORT"] = str(request.peer.port)
    if request.secure:
        environ["HTTPS"] = "on"
    if path_info:
        environ["PATH_INFO"] = path_info
        environ["PATH_TRANSLATED"] = root + path_info
    if body_length:
        environ["CONTENT_LENGTH"] = str(body_length)
    _put(environ, "CONTENT_TYPE", request.headers.get("content-type"))
    for name in dict.fromkeys([name.lower() for name, _ in request.headers]):
        if name not in _NOT_PASSED and _PASSED_NAME.fullmatch(name):
            _put(environ, "HTTP_" + name.replace("-", "_").upper(), request.headers.get(name))
    return environ


def _put(environ: dict[str, str], name: str, value: str | None) -> None:
    if value is None:
        return
    try:
        environ[name] = value.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return


def _server(request: Request) -> tuple[str, str]:
    """Return the name that the client used for this server, and the port that it has connected to."""
    local = request.local
    host, port = (local.host, local.port) if isinstance(local, Address) else ("localhost", 0)
    name = re.sub(":[0-9]+$", "", request.host) or (f"[{host}]" if ":" in host else host)
    return name, str(port or (443 if request.secure else 80))


@dataclass(frozen=True, slots=True)
class Head:
    """What a script said before its body.

    Attributes:
        status: of the answer.
        headers: fields for the client.
        redirect: a path of this server, whose answer is wanted instead; "" for none.
        length: bytes of the body, if the script said so.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    redirect: str = ""
    length: int | None = None


class HeadParser:
    """Finds the header block at the beginning of a script's output (RFC 3875 6.2 and 6.3)."""

    def __init__(self) -> None:
        # RFC 3875 6.2: lines may end in LF or CR LF.
        self._lines = LineReader(MAX_LINE, LineEnding.LENIENT)
        self._fields: list[tuple[str, str]] = []
        self._size = 0

    def receive_data(self, data: bytes) -> None:
        """Buffer `data`. Never raises: see `next_head`."""
        self._lines.receive_data(data)

    def next_head(self) -> Head | None:
        """Return the head, or None if more bytes are needed. `take_rest` then has what follows.

        Raises:
            RemoteProtocolError: the script broke a rule or a limit; the message quotes nothing of it.
        """
        while True:
            line = self._lines.next_line()
            if line is None:
                return None
            if not line:
                return _judge(self._fields)
            self._size += len(line)
            if self._size > MAX_HEAD or len(self._fields) >= MAX_FIELDS:
                raise RemoteProtocolError(f"a header block of over {MAX_HEAD} bytes or {MAX_FIELDS} lines")
            if not self._fields and line.startswith(b"HTTP/"):
                raise RemoteProtocolError("it answers by itself, as an NPH script, which is not run here")
            text = line.decode("latin-1")
            try:
                _, value = check_field_line(text)
            except RefusedRequest as error:
                raise RemoteProtocolError(f"line {len(self._fields) + 1} of its header: {error}") from error
            # As the script spelt it.
            self._fields.append((text.partition(":")[0], value))

    def take_rest(self) -> bytes:
        """Return the beginning of the body, as far as it has come."""
        return self._lines.take_remainder()


def _judge(fields: list[tuple[str, str]]) -> Head:
    said: dict[str, str] = {}
    for name, value in fields:
        lower = name.lower()
        if lower in _CGI_FIELDS:
            if lower in said:
                raise RemoteProtocolError(f"more than one {lower}")
            said[lower] = value
    if not set(said) - {"content-length"}:
        raise RemoteProtocolError("neither Content-Type nor Location nor Status")
    status = 200
    if "status" in said:
        found = _STATUS.fullmatch(said["status"])
        if found is None:
            raise RemoteProtocolError("a Status that is not from 200 to 599")
        status = int(found.group(1))
    length = said.get("content-length")
    if length is not None and not _DIGITS.fullmatch(length):
        raise RemoteProtocolError("a Content-Length that is no number")
    location = said.get("location")
    if location is not None:
        if location.startswith("/") and "status" not in said:
            return Head(200, (), redirect=location)
        # With a Status of its own, as PHP sends it, a path is for the client to follow (RFC 9110 10.2.2).
        if not (_ABSOLUTE if "status" not in said else _VISIBLE).fullmatch(location):
            raise RemoteProtocolError("a Location that is neither a path nor a URI")
        status = status if "status" in said else 302
    headers = tuple([(name, value) for name, value in fields if name.lower() not in _OURS])
    return Head(status, headers, length=None if length is None else int(length))


def redirected(request: Request, target: str) -> Request:
    """Return the request for `target`, a path of this server with its query, that stands for `request` when a
    script redirects to it (RFC 3875 6.2.2). It has no body.

    Raises:
        RefusedRequest: it cannot be the target of a request.
    """
    method, target, _ = check_request_line(f"{'HEAD' if request.method == 'HEAD' else 'GET'} {target} HTTP/1.1")
    fields = [(name, value) for name, value in request.headers if not name.lower().startswith("content-")]
    made = Request(method, target, Headers(fields), request.version)
    made.host = request.host
    made.keep_alive = request.keep_alive
    made.peer = request.peer
    made.local = request.local
    made.secure = request.secure
    made.clock = request.clock
    made.depth = request.depth
    made.redirects = request.redirects + 1
    return made
