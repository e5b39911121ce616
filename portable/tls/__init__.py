"""TLS as a filter over any transport: the same code, and the same bytes, on every backend.

`server_options` and `client_options` make the `TLSOptions` that `Transport.start_tls`, listeners and clients
take; `tls_factory` speaks TLS from the first byte on, `upgrade` in the middle of a connection;
`CertificateWatch` reloads certificates when their files change.
"""

from __future__ import annotations

from portable.tls.options import TLSOptions, client_options, context_options, server_options
from portable.tls.reload import CertificateWatch
from portable.tls.starting import tls_factory, upgrade
from portable.tls.transport import TLSTransport

__all__ = [
    "CertificateWatch",
    "TLSOptions",
    "TLSTransport",
    "client_options",
    "context_options",
    "server_options",
    "tls_factory",
    "upgrade",
]
