"""Why a request is refused: every rule by name, with its status, as one table."""

from __future__ import annotations

import typing

from portable.errors import RemoteProtocolError

__all__ = ["RULES", "RefusedRequest", "Rule", "explain"]


class Rule(typing.NamedTuple):
    """One reason to refuse a request.

    Attributes:
        status: of the answer.
        reason: a sentence for people. It says nothing of what the request held, so it can be shown anywhere.
    """

    status: int
    reason: str


RULES: dict[str, Rule] = {
    # Lines. Whoever is in front of us may see other lines than we do in anything but CRLF (RFC 9112 2.2).
    "bare-lf": Rule(400, "A line ends with LF alone; it must end with CR LF."),
    "bare-cr": Rule(400, "A CR stands inside a line."),
    "control-character": Rule(400, "There is a control character in the request line or a header field."),
    "empty-line": Rule(400, "There is more than one empty line before the request line."),
    # The request line (RFC 9112 3).
    "request-line": Rule(400, "The request line is not METHOD SP TARGET SP VERSION."),
    "method-syntax": Rule(400, "The method is not a token."),
    "method-unknown": Rule(501, "The method is not implemented."),
    "version-missing": Rule(400, "The request line has no version; HTTP/0.9 is not spoken here."),
    "version-syntax": Rule(400, "The version is not HTTP/ digit . digit."),
    "version-unsupported": Rule(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here."),
    "target-too-long": Rule(414, "The request line is longer than the limit."),
    "target-character": Rule(400, "The target has a character that must be percent-encoded."),
    "target-form": Rule(400, "The target is neither a path nor an http URL."),
    "target-asterisk": Rule(400, "The target * goes with OPTIONS only."),
    "target-authority": Rule(501, "This server is no tunnel."),
    "target-host-mismatch": Rule(400, "The target and the Host field name different hosts."),
    "path-encoding": Rule(400, "The path has a percent sign without two hex digits, or is not UTF-8."),
    "path-escape": Rule(
        400, "A segment of the path is .. or has a slash, backslash or control character inside."
    ),
    "path-empty": Rule(404, "A segment of the path is empty or a single dot."),
    # Header fields (RFC 9112 5).
    "headers-too-large": Rule(431, "The header fields are larger than the limit."),
    "headers-too-many": Rule(431, "There are more header fields than the limit."),
    "header-name": Rule(400, "The name of a header field is empty or not a token."),
    "header-name-space": Rule(400, "There is white space before the colon of a header field."),
    "header-no-colon": Rule(400, "A header field has no colon."),
    "header-folded": Rule(400, "A header field goes on in the next line (obsolete folding)."),
    # Host (RFC 9112 3.2).
    "host-missing": Rule(400, "There is no Host field."),
    "host-repeated": Rule(400, "There is more than one Host field."),
    "host-syntax": Rule(400, "The Host field is not a name or address with an optional port."),
    # Framing (RFC 9112 6): two readers that disagree here see different requests.
    "length-repeated": Rule(400, "There is more than one Content-Length field."),
    "length-syntax": Rule(400, "Content-Length is not a plain decimal number."),
    "length-and-transfer-coding": Rule(400, "There is both a Content-Length and a Transfer-Encoding field."),
    "transfer-coding-repeated": Rule(400, "There is more than one Transfer-Encoding field."),
    "transfer-coding-syntax": Rule(400, "Transfer-Encoding does not end with one chunked."),
    "transfer-coding-unknown": Rule(501, "The only transfer coding implemented is chunked."),
    "transfer-coding-version": Rule(400, "There is a Transfer-Encoding field in an HTTP/1.0 request."),
    "expectation-unknown": Rule(417, "The only expectation implemented is 100-continue."),
    "body-too-large": Rule(413, "The body is larger than the limit."),
    # The chunked coding (RFC 9112 7.1).
    "chunk-size": Rule(400, "The size of a chunk is not a plain hexadecimal number."),
    "chunk-size-digits": Rule(400, "The size of a chunk has too many digits."),
    "chunk-extension": Rule(400, "A chunk extension is malformed."),
    "chunk-line-too-long": Rule(400, "The line with a chunk's size is longer than the limit."),
    "chunk-overhead": Rule(400, "The chunk extensions of one body are larger than the limit."),
    "chunk-end": Rule(400, "The data of a chunk is not followed by CR LF."),
    "trailer-forbidden": Rule(400, "A trailer has a field that must not stand there."),
    "trailers-too-large": Rule(431, "The trailers are larger than the limit."),
    "trailers-too-many": Rule(431, "There are more trailers than the limit."),
    # Time.
    "request-timeout": Rule(408, "The request took too long to arrive."),
    "body-timeout": Rule(408, "The body arrived too slowly."),
    "body-cut": Rule(400, "The connection ended before the body was complete."),
}


class RefusedRequest(RemoteProtocolError):
    """A request that is answered with an error because of a rule, before or instead of being rendered.

    A resource may raise it too.

    Attributes:
        rule: a key of RULES.
    """

    def __init__(self, rule: str) -> None:
        super().__init__(f"{rule}: {RULES[rule].reason}")
        self.rule = rule

    @property
    def status(self) -> int:
        """The status of the answer."""
        return RULES[self.rule].status


def explain(rule: str) -> str:
    """Return "400 bare-lf: A line ends ...", for logs and for people.

    Raises:
        KeyError: no such rule.
    """
    status, reason = RULES[rule]
    return f"{status} {rule}: {reason}"
