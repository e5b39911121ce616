"""Malformed requests: each is refused by one rule, whole or byte by byte, and nothing after it is a request."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CASES", "SMUGGLED", "Case"]

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """`data` and the rule of protocols.http.rules.RULES that refuses it."""

    name: str
    rule: str
    data: bytes


def _head(rule: str, name: str, *lines: bytes) -> Case:
    """Return a GET request with Host and further header lines."""
    fields = b"".join(line + b"\r\n" for line in (b"Host: a", *lines))
    return Case(name, rule, b"GET / HTTP/1.1\r\n" + fields + b"\r\n")


def _line(rule: str, name: str, line: bytes) -> Case:
    """Return a request with this request line."""
    return Case(name, rule, line + b"\r\nHost: a\r\n\r\n")


def _body(rule: str, name: str, *lines: bytes, body: bytes = b"") -> Case:
    """Return a POST request with Host, further header lines and a body."""
    fields = b"".join(line + b"\r\n" for line in (b"Host: a", *lines))
    return Case(name, rule, b"POST /read HTTP/1.1\r\n" + fields + b"\r\n" + body)


def _chunks(rule: str, name: str, body: bytes) -> Case:
    """Return a POST request with a chunked body."""
    return _body(rule, name, b"Transfer-Encoding: chunked", body=body)


def _host(rule: str, name: str, *lines: bytes) -> Case:
    """Return a GET request with these lines instead of a good Host."""
    return Case(name, rule, b"GET / HTTP/1.1\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


_CL_TE = (b"Content-Length: 4", b"Transfer-Encoding: chunked")
_INNER = b"0\r\n\r\n"

CASES: list[Case] = [
    # Content-Length twice, or not a plain number.
    _body("length-repeated", "cl-cl-different", b"Content-Length: 5", b"Content-Length: 6", body=b"hello"),
    _body("length-repeated", "cl-cl-equal", b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    _body("length-repeated", "cl-cl-zero-first", b"Content-Length: 0", b"Content-Length: 44", body=b""),
    _body("length-repeated", "cl-cl-case", b"Content-Length: 5", b"CONTENT-LENGTH: 5", body=b"hello"),
    _head("length-repeated", "cl-cl-on-get", b"Content-Length: 0", b"Content-Length: 0"),
    _body("length-syntax", "cl-list-equal", b"Content-Length: 5, 5", body=b"hello"),
    _body("length-syntax", "cl-list-different", b"Content-Length: 5, 6", body=b"hello"),
    _body("length-syntax", "cl-plus", b"Content-Length: +5", body=b"hello"),
    _body("length-syntax", "cl-minus", b"Content-Length: -5", body=b"hello"),
    _body("length-syntax", "cl-minus-zero", b"Content-Length: -0", body=b""),
    _body("length-syntax", "cl-hex", b"Content-Length: 0x5", body=b"hello"),
    _body("length-syntax", "cl-hex-letters", b"Content-Length: a", body=b"helloworld"),
    _body("length-syntax", "cl-octal-prefix", b"Content-Length: 0o5", body=b"hello"),
    _body("length-syntax", "cl-underscore", b"Content-Length: 1_0", body=b"helloworld"),
    _body("length-syntax", "cl-space-inside", b"Content-Length: 1 0", body=b"helloworld"),
    _body("length-syntax", "cl-tab-inside", b"Content-Length: 1\t0", body=b"helloworld"),
    _body("length-syntax", "cl-empty", b"Content-Length:", body=b""),
    _body("length-syntax", "cl-blank", b"Content-Length:  \t ", body=b""),
    _body("length-syntax", "cl-word", b"Content-Length: five", body=b"hello"),
    _body("length-syntax", "cl-float", b"Content-Length: 5.0", body=b"hello"),
    _body("length-syntax", "cl-exponent", b"Content-Length: 1e1", body=b"helloworld"),
    _body("length-syntax", "cl-quoted", b'Content-Length: "5"', body=b"hello"),
    _body("length-syntax", "cl-semicolon", b"Content-Length: 5;", body=b"hello"),
    _body("length-syntax", "cl-trailing-letters", b"Content-Length: 5abc", body=b"hello"),
    _body("length-syntax", "cl-superscript", b"Content-Length: \xb2", body=b"he"),
    _body("length-syntax", "cl-arabic-digit-utf8", b"Content-Length: \xd9\xa5", body=b"hello"),
    _body("length-syntax", "cl-no-break-space", b"Content-Length: \xa05", body=b"hello"),
    _body("length-syntax", "cl-19-digits", b"Content-Length: 0000000000000000005", body=b"hello"),
    _body("length-syntax", "cl-2-to-64-plus-5", b"Content-Length: 18446744073709551621", body=b"hello"),
    _body("length-syntax", "cl-thousand-digits", b"Content-Length: " + b"9" * 1000, body=b"hello"),
    _body("body-too-large", "cl-over-limit", b"Content-Length: 999999999999999999", body=b"hello"),
    # Content-Length and Transfer-Encoding together.
    _body("length-and-transfer-coding", "cl-te", *_CL_TE, body=_INNER),
    _body("length-and-transfer-coding", "te-cl", *reversed(_CL_TE), body=_INNER),
    _body("length-and-transfer-coding", "cl-zero-te", b"Content-Length: 0", _CL_TE[1], body=_INNER),
    _body("length-and-transfer-coding", "cl-te-gzip", _CL_TE[0], b"Transfer-Encoding: gzip", body=_INNER),
    _body(
        "length-and-transfer-coding",
        "cl-te-case",
        b"content-length: 4",
        b"TRANSFER-ENCODING: CHUNKED",
        body=_INNER,
    ),
    _head("length-and-transfer-coding", "cl-te-on-get", *_CL_TE),
    Case(
        "cl-te-1.0",
        "length-and-transfer-coding",
        b"POST /read HTTP/1.0\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    # Transfer-Encoding twice, or not exactly chunked.
    _body("transfer-coding-repeated", "te-te", _CL_TE[1], _CL_TE[1], body=_INNER),
    _body("transfer-coding-repeated", "te-te-identity", _CL_TE[1], b"Transfer-Encoding: identity", body=_INNER),
    _body("transfer-coding-repeated", "te-te-other-first", b"Transfer-Encoding: x", _CL_TE[1], body=_INNER),
    _body("transfer-coding-repeated", "te-te-case", _CL_TE[1], b"transfer-encoding: chunked", body=_INNER),
    _body("transfer-coding-syntax", "te-chunked-chunked", b"Transfer-Encoding: chunked, chunked", body=_INNER),
    _body("transfer-coding-syntax", "te-chunked-gzip", b"Transfer-Encoding: chunked, gzip", body=_INNER),
    _body("transfer-coding-syntax", "te-chunked-identity", b"Transfer-Encoding: chunked, identity"),
    _body("transfer-coding-syntax", "te-quoted", b'Transfer-Encoding: "chunked"', body=_INNER),
    _body("transfer-coding-syntax", "te-semicolon", b"Transfer-Encoding: chunked;", body=_INNER),
    _body("transfer-coding-syntax", "te-parameter", b"Transfer-Encoding: chunked;q=1", body=_INNER),
    _body("transfer-coding-syntax", "te-trailing-comma", b"Transfer-Encoding: chunked,", body=_INNER),
    _body("transfer-coding-syntax", "te-leading-comma", b"Transfer-Encoding: ,chunked", body=_INNER),
    _body("transfer-coding-syntax", "te-empty", b"Transfer-Encoding:", body=_INNER),
    _body("transfer-coding-syntax", "te-space-inside", b"Transfer-Encoding: chu nked", body=_INNER),
    _body("transfer-coding-syntax", "te-no-break-space", b"Transfer-Encoding: \xa0chunked", body=_INNER),
    _body("transfer-coding-syntax", "te-bracket", b"Transfer-Encoding: [chunked]", body=_INNER),
    _body("transfer-coding-syntax", "te-two-words", b"Transfer-Encoding: identity chunked", body=_INNER),
    _body("transfer-coding-unknown", "te-gzip-chunked", b"Transfer-Encoding: gzip, chunked", body=_INNER),
    _body("transfer-coding-unknown", "te-identity-chunked", b"Transfer-Encoding: identity, chunked"),
    _body("transfer-coding-unknown", "te-gzip", b"Transfer-Encoding: gzip", body=_INNER),
    _body("transfer-coding-unknown", "te-identity", b"Transfer-Encoding: identity", body=_INNER),
    _body("transfer-coding-unknown", "te-xchunked", b"Transfer-Encoding: xchunked", body=_INNER),
    _body("transfer-coding-unknown", "te-chunkedx", b"Transfer-Encoding: chunkedx", body=_INNER),
    _body("control-character", "te-vertical-tab", b"Transfer-Encoding: \x0bchunked", body=_INNER),
    _body("control-character", "te-form-feed", b"Transfer-Encoding: chunked\x0c", body=_INNER),
    _body("control-character", "te-nul", b"Transfer-Encoding: chunked\x00", body=_INNER),
    _body("header-name-space", "te-space-before-colon", b"Transfer-Encoding : chunked", body=_INNER),
    _body("header-name-space", "te-tab-before-colon", b"Transfer-Encoding\t: chunked", body=_INNER),
    _body("header-folded", "te-folded", b"Transfer-Encoding:", b" chunked", body=_INNER),
    _body("bare-cr", "te-after-bare-cr", b"X: x\rTransfer-Encoding: chunked", body=_INNER),
    _body("bare-lf", "te-after-bare-lf", b"X: x\nTransfer-Encoding: chunked", body=_INNER),
    Case(
        "te-1.0",
        "transfer-coding-version",
        b"POST /read HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    # Line ends.
    Case("all-lf", "bare-lf", b"GET / HTTP/1.1\nHost: a\n\n"),
    Case("lf-after-request-line", "bare-lf", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    Case("lf-after-field", "bare-lf", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    Case("lf-at-end-of-head", "bare-lf", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    Case("lf-lf-at-end-of-head", "bare-lf", b"GET / HTTP/1.1\r\nHost: a\n\n"),
    Case("lf-before-request-line", "bare-lf", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("cr-in-request-line", "bare-cr", b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("cr-cr-lf", "bare-cr", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
    Case("cr-only", "bare-cr", b"GET / HTTP/1.1\rHost: a\r\r\n\r\n"),
    Case("cr-in-value", "bare-cr", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
    Case("cr-in-name", "bare-cr", b"GET / HTTP/1.1\r\nHost: a\r\nX\rY: b\r\n\r\n"),
    Case("cr-before-empty-line", "bare-cr", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n"),
    Case("cr-before-request-line", "bare-cr", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("two-empty-lines-first", "empty-line", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    # Control characters.
    _head("control-character", "nul-in-value", b"X: a\x00b"),
    _head("control-character", "nul-in-name", b"X\x00Y: b"),
    _head("control-character", "bell-in-value", b"X: a\x07b"),
    _head("control-character", "delete-in-value", b"X: a\x7fb"),
    _head("control-character", "escape-in-value", b"X: a\x1b[31mb"),
    _head("control-character", "vertical-tab-in-value", b"X: a\x0bb"),
    _head("control-character", "backspace-in-value", b"X: a\x08"),
    _line("control-character", "nul-in-target", b"GET /\x00 HTTP/1.1"),
    _line("control-character", "tab-in-target", b"GET /\ta HTTP/1.1"),
    _line("control-character", "tabs-between", b"GET\t/\tHTTP/1.1"),
    _line("control-character", "escape-in-target", b"GET /\x1b[0m HTTP/1.1"),
    # Header lines.
    _head("header-folded", "fold-with-space", b"X: a", b" b"),
    _head("header-folded", "fold-with-tab", b"X: a", b"\tb"),
    _head("header-folded", "fold-looks-like-header", b"X: a", b" Content-Length: 5"),
    _head("header-folded", "fold-blank-line", b"X: a", b" "),
    Case("fold-first", "header-folded", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    _head("header-no-colon", "no-colon", b"Garbage"),
    _head("header-no-colon", "no-colon-words", b"Content-Length 5"),
    _head("header-no-colon", "second-request-line", b"GET /smuggled HTTP/1.1"),
    _head("header-name", "empty-name", b": value"),
    _head("header-name", "only-colon", b":"),
    _head("header-name-space", "space-before-colon", b"X : y"),
    _head("header-name-space", "length-space-before-colon", b"Content-Length : 5"),
    _host("header-name-space", "host-space-before-colon", b"Host : a"),
    _head("header-name", "space-in-name", b"X Y: z"),
    _head("header-name", "quote-in-name", b'"X": z'),
    _head("header-name", "slash-in-name", b"X/Y: z"),
    _head("header-name", "bracket-in-name", b"X[0]: z"),
    _head("header-name", "at-in-name", b"X@Y: z"),
    _head("header-name", "latin1-in-name", b"X\xe9: z"),
    _head("header-name", "utf8-in-name", "Cöntent-Length: 5".encode()),
    _head("header-name", "parenthesis-in-name", b"(X): z"),
    # Host.
    _host("host-missing", "no-host"),
    _host("host-missing", "no-host-but-others", b"X: y"),
    _host("host-repeated", "host-host-equal", b"Host: a", b"Host: a"),
    _host("host-repeated", "host-host-different", b"Host: a", b"Host: b"),
    _host("host-repeated", "host-host-case", b"Host: a", b"HOST: a"),
    _host("host-syntax", "host-empty", b"Host:"),
    _host("host-syntax", "host-comma", b"Host: a, b"),
    _host("host-syntax", "host-slash", b"Host: a/b"),
    _host("host-syntax", "host-userinfo", b"Host: user@a"),
    _host("host-syntax", "host-space", b"Host: a b"),
    _host("host-syntax", "host-markup", b"Host: <script>alert(1)</script>"),
    _host("host-syntax", "host-quote", b'Host: a"b'),
    _host("host-syntax", "host-query", b"Host: a?b"),
    _host("host-syntax", "host-fragment", b"Host: a#b"),
    _host("host-syntax", "host-backslash", b"Host: a\\b"),
    _host("host-syntax", "host-port-word", b"Host: a:http"),
    _host("host-syntax", "host-port-empty", b"Host: a:"),
    _host("host-syntax", "host-port-zero", b"Host: a:0"),
    _host("host-syntax", "host-port-too-large", b"Host: a:65536"),
    _host("host-syntax", "host-port-six-digits", b"Host: a:000080"),
    _host("host-syntax", "host-two-ports", b"Host: a:80:80"),
    _host("host-syntax", "host-url", b"Host: http://a"),
    _host("host-syntax", "host-open-bracket", b"Host: [::1"),
    _host("host-syntax", "host-bare-ipv6", b"Host: ::1"),
    _host("host-syntax", "host-bracketed-name", b"Host: [name]"),
    _host("host-syntax", "host-dot-first", b"Host: .a"),
    _host("host-syntax", "host-percent", b"Host: %61"),
    _host("host-syntax", "host-latin1", b"Host: \xe9"),
    _host("host-syntax", "host-utf8", "Host: bücher".encode()),
    Case("host-syntax-1.0", "host-syntax", b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n"),
    Case("host-host-1.0", "host-repeated", b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
    # The target.
    _line("target-host-mismatch", "absolute-other-host", b"GET http://b/ HTTP/1.1"),
    _line("target-host-mismatch", "absolute-other-port", b"GET http://a:81/ HTTP/1.1"),
    _line("target-form", "absolute-userinfo", b"GET http://u@a/ HTTP/1.1"),
    _line("target-form", "absolute-no-host", b"GET http:///x HTTP/1.1"),
    _line("target-form", "absolute-ftp", b"GET ftp://a/ HTTP/1.1"),
    _line("target-form", "absolute-file", b"GET file:///etc/passwd HTTP/1.1"),
    _line("target-form", "absolute-one-slash", b"GET http:/a/ HTTP/1.1"),
    _line("target-form", "relative", b"GET index.html HTTP/1.1"),
    _line("target-form", "query-only", b"GET ?x HTTP/1.1"),
    _line("target-form", "dot-dot", b"GET ../ HTTP/1.1"),
    _line("target-form", "host-alone", b"GET a:80 HTTP/1.1"),
    _line("target-form", "asterisk-path", b"OPTIONS *x HTTP/1.1"),
    _line("target-asterisk", "asterisk-get", b"GET * HTTP/1.1"),
    _line("target-asterisk", "asterisk-head", b"HEAD * HTTP/1.1"),
    _line("target-authority", "connect", b"CONNECT a:443 HTTP/1.1"),
    _line("target-authority", "connect-path", b"CONNECT / HTTP/1.1"),
    _line("target-character", "target-fragment", b"GET /#x HTTP/1.1"),
    _line("target-character", "target-quote", b'GET /"x HTTP/1.1'),
    _line("target-character", "target-markup", b"GET /<script> HTTP/1.1"),
    _line("target-character", "target-latin1", b"GET /\xe9 HTTP/1.1"),
    _line("target-character", "target-utf8", "GET /ü HTTP/1.1".encode()),
    _line("target-too-long", "target-8193", b"GET /" + b"x" * 8192 + b" HTTP/1.1"),
    Case("target-endless", "target-too-long", b"GET /" + b"x" * 10000),
    # The request line.
    _line("request-line", "two-spaces", b"GET  / HTTP/1.1"),
    _line("request-line", "two-spaces-before-version", b"GET /  HTTP/1.1"),
    _line("request-line", "space-in-target", b"GET /a b HTTP/1.1"),
    _line("request-line", "space-at-end", b"GET / HTTP/1.1 "),
    _line("request-line", "smuggled-version", b"GET / HTTP/1.1 HTTP/1.0"),
    _line("request-line", "method-only", b"GET"),
    _line("method-syntax", "space-first", b" GET / HTTP/1.1"),
    _line("method-syntax", "method-slash", b"GE/T / HTTP/1.1"),
    _line("method-syntax", "method-quote", b'"GET" / HTTP/1.1'),
    _line("method-syntax", "method-latin1", b"G\xcbT / HTTP/1.1"),
    _line("method-unknown", "method-unknown", b"BREW / HTTP/1.1"),
    _line("method-unknown", "method-lower-case", b"get / HTTP/1.1"),
    _line("method-unknown", "method-long", b"X" * 4000 + b" / HTTP/1.1"),
    # Versions.
    Case("http-0.9", "version-missing", b"GET /\r\n"),
    Case("http-0.9-with-host", "version-missing", b"GET /\r\nHost: a\r\n\r\n"),
    _line("version-syntax", "version-lower-case", b"GET / http/1.1"),
    _line("version-syntax", "version-1.10", b"GET / HTTP/1.10"),
    _line("version-syntax", "version-01.1", b"GET / HTTP/01.1"),
    _line("version-syntax", "version-1", b"GET / HTTP/1"),
    _line("version-syntax", "version-1.", b"GET / HTTP/1."),
    _line("version-syntax", "version-word", b"GET / FTP/1.1"),
    _line("version-syntax", "version-sign", b"GET / HTTP/+1.1"),
    _line("version-syntax", "version-comma", b"GET / HTTP/1,1"),
    _line("version-syntax", "version-superscript", b"GET / HTTP/1.\xb9"),
    _line("version-syntax", "version-sip", b"GET / SIP/2.0"),
    _line("version-unsupported", "version-2.0", b"GET / HTTP/2.0"),
    _line("version-unsupported", "version-3.0", b"GET / HTTP/3.0"),
    _line("version-unsupported", "version-0.9", b"GET / HTTP/0.9"),
    _line("version-unsupported", "version-9.9", b"GET / HTTP/9.9"),
    Case("http2-preface", "version-unsupported", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    # Other protocols.
    Case("tls-hello", "method-syntax", bytes.fromhex("16030100c8010000c40303") + b"\x00" * 32),
    Case("ssl2-hello", "method-syntax", bytes.fromhex("802e0100020015000000")),
    Case("socks5", "method-syntax", b"\x05\x01\x00"),
    Case("ssh", "request-line", b"SSH-2.0-OpenSSH_9.6\r\n"),
    Case("smtp", "version-missing", b"EHLO example.org\r\n"),
    Case(
        "proxy-header",
        "request-line",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n",
    ),
    Case("rtsp", "version-syntax", b"OPTIONS rtsp://a/x RTSP/1.0\r\n\r\n"),
    Case("nul-bytes", "method-syntax", b"\x00" * 100),
    Case("random-bytes", "method-syntax", bytes(range(128, 256))),
    # Sizes.
    _head("headers-too-many", "headers-101", *[b"X: y"] * 101),
    _head("headers-too-large", "header-endless", b"X: " + b"y" * 40000),
    _head("headers-too-large", "headers-together", *[b"X: " + b"y" * 500] * 90),
    Case("header-without-end", "headers-too-large", b"GET / HTTP/1.1\r\nX: " + b"y" * 40000),
    # Expectations.
    _head("expectation-unknown", "expect-other", b"Expect: the-moon"),
    _head("expectation-unknown", "expect-two", b"Expect: 100-continue", b"Expect: 100-continue"),
    _head("expectation-unknown", "expect-list", b"Expect: 100-continue, x"),
    _head("expectation-unknown", "expect-empty", b"Expect:"),
    # The chunked coding.
    _chunks("chunk-size", "chunk-size-empty", b"\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size", "chunk-size-word", b"x\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size", "chunk-size-0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size", "chunk-size-plus", b"+5\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size", "chunk-size-minus", b"-5\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size", "chunk-size-space-first", b" 5\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size", "chunk-size-underscore", b"1_0\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size", "chunk-size-nul", b"5\x00\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size", "chunk-size-comma", b"5,5\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size", "chunk-size-superscript", b"\xb2\r\nhe\r\n0\r\n\r\n"),
    _chunks("chunk-size-digits", "chunk-size-17-digits", b"00000000000000005\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-size-digits", "chunk-size-wraps", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    _chunks("body-too-large", "chunk-size-huge", b"ffffffffffffffff\r\nhello"),
    _chunks("body-too-large", "chunk-size-sum", b"1\r\nx\r\nfffffff\r\nhello"),
    _chunks("bare-lf", "chunk-size-lf", b"5\nhello\r\n0\r\n\r\n"),
    _chunks("bare-cr", "chunk-size-cr", b"5\rhello\r\n0\r\n\r\n"),
    _chunks("bare-cr", "chunk-size-cr-cr-lf", b"5\r\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-extension", "chunk-size-space-after", b"5 \r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-extension", "chunk-size-two-words", b"5 5\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-extension", "chunk-ext-empty", b"5;\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-extension", "chunk-ext-no-name", b"5;=x\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-extension", "chunk-ext-no-value", b"5;x=\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-extension", "chunk-ext-open-quote", b'5;x="y\r\nhello\r\n0\r\n\r\n'),
    _chunks("chunk-extension", "chunk-ext-nul", b"5;x=\x00\r\nhello\r\n0\r\n\r\n"),
    _chunks("bare-lf", "chunk-ext-lf", b"5;x=\nhello\r\n0\r\n\r\n"),
    _chunks("bare-lf", "chunk-ext-lf-in-quotes", b'5;x="\n"\r\nhello\r\n0\r\n\r\n'),
    _chunks("bare-cr", "chunk-ext-cr-in-quotes", b'5;x="\r"\r\nhello\r\n0\r\n\r\n'),
    _chunks("chunk-line-too-long", "chunk-ext-long", b"5;x=" + b"y" * 300 + b"\r\nhello\r\n0\r\n\r\n"),
    _chunks("chunk-line-too-long", "chunk-line-without-end", b"5" * 300),
    _chunks("chunk-overhead", "chunk-ext-many", (b"1;x=" + b"y" * 200 + b"\r\nz\r\n") * 30),
    _chunks("chunk-end", "chunk-data-longer", b"5\r\nhello!\r\n0\r\n\r\n"),
    _chunks("chunk-end", "chunk-data-shorter", b"5\r\nhell\r\n0\r\n\r\n"),
    _chunks("chunk-end", "chunk-end-lf", b"5\r\nhello\n0\r\n\r\n"),
    _chunks("chunk-end", "chunk-end-two-bytes", b"5\r\nhelloXX0\r\n\r\n"),
    _chunks("chunk-end", "chunk-end-cr-x", b"5\r\nhello\rX0\r\n\r\n"),
    _chunks("chunk-end", "chunk-end-missing", b"5\r\nhello0\r\n\r\n"),
    _chunks("bare-lf", "last-chunk-lf", b"0\n\r\n"),
    _chunks("bare-lf", "trailers-end-lf", b"0\r\n\n"),
    # Trailers.
    _chunks("trailer-forbidden", "trailer-length", b"0\r\nContent-Length: 5\r\n\r\n"),
    _chunks("trailer-forbidden", "trailer-coding", b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    _chunks("trailer-forbidden", "trailer-host", b"0\r\nHost: b\r\n\r\n"),
    _chunks("trailer-forbidden", "trailer-authorization", b"0\r\nAuthorization: Basic eDp5\r\n\r\n"),
    _chunks("trailer-forbidden", "trailer-cookie", b"0\r\nCookie: a=b\r\n\r\n"),
    _chunks("trailer-forbidden", "trailer-connection", b"0\r\nConnection: close\r\n\r\n"),
    _chunks("header-no-colon", "trailer-no-colon", b"0\r\nGarbage\r\n\r\n"),
    _chunks("header-no-colon", "trailer-request-line", b"0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
    _chunks("header-folded", "trailer-folded", b"0\r\nX: y\r\n z\r\n\r\n"),
    _chunks("header-name-space", "trailer-space-before-colon", b"0\r\nX : y\r\n\r\n"),
    _chunks("header-name", "trailer-name", b"0\r\nX Y: y\r\n\r\n"),
    _chunks("control-character", "trailer-nul", b"0\r\nX: \x00\r\n\r\n"),
    _chunks("bare-lf", "trailer-lf", b"0\r\nX: y\n\r\n"),
    _chunks("bare-cr", "trailer-cr", b"0\r\nX: y\rZ: z\r\n\r\n"),
    _chunks("trailers-too-many", "trailers-33", b"0\r\n" + b"X: y\r\n" * 33 + b"\r\n"),
    _chunks("trailers-too-large", "trailers-large", b"0\r\nX: " + b"y" * 9000 + b"\r\n\r\n"),
]
