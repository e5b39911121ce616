"""The options that every kind that listens has, and the ports they stand for."""

from __future__ import annotations

import dataclasses
import typing

from portable.endpointfields import pair_certificates
from portable.endpoints import TCPEndpoint, parse_endpoint
from portable.listener import ListenerOptions, ServerPort
from portable.options import Option

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

    from portable.endpoints import Endpoint
    from portable.protocol import ProtocolFactory

__all__ = ["certificate_options", "certificates", "listener_options", "listening_options", "server_ports"]


def listening_options(
    default_port: int, default_interface: str = "", *, idle_timeout: float = 0.0
) -> tuple[Option, ...]:
    """Return the options `--port`, `--interface`, `--listen`, and those of the listener.

    Args:
        default_port: listened on if neither `--port` nor `--listen` is given.
        default_interface: of `--port`; "" for every address of this machine.
        idle_timeout: the default of `--idle-timeout`, seconds; 0 for never.
    """
    return (
        Option("port", "port", default_port, "TCP port; 0 for any free one", short="p", unless="listen"),
        Option(
            "interface",
            "interface",
            default_interface,
            "address of --port: an IP address, or nothing for every address of this machine",
            short="i",
            metavar="IP",
        ),
        Option(
            "listen",
            "endpoint",
            (),
            "where to listen, in full: tcp:8080:interface=127.0.0.1, "
            "tls:8443:certificate=c.pem:privkey=k.pem (both again for other host names), "
            "unix:/run/x.sock:mode=660, systemd:NAME",
            repeatable=True,
        ),
        Option(
            "max-connections", "int", 0, "connections open at one time, on each port; 0 for no limit", minimum=0
        ),
        Option("max-per-peer", "int", 0, "of these from one address; 0 for no limit", minimum=0),
        Option(
            "idle-timeout",
            "duration",
            idle_timeout,
            "drop a connection on which no byte has moved for so long; 0 for never",
        ),
        Option(
            "handshake-timeout",
            "duration",
            30.0,
            "time for the TLS handshake and the PROXY header; 0 for no limit",
        ),
        Option(
            "throttle",
            "size",
            0,
            "limit each connection, in each direction; 0 for no limit",
            unit="bytes per second",
        ),
        Option(
            "proxy-protocol-from",
            "network",
            (),
            "expect a PROXY protocol header from these peers, and from no others",
            repeatable=True,
            choices=("unix",),
        ),
        Option(
            "drain",
            "duration",
            None,
            "how long a stop waits for connections to finish, unless twistd is told otherwise "
            "(the longest of all services counts)",
        ),
    )


def certificate_options() -> tuple[Option, Option]:
    """Return the options `--certificate` and `--privkey`, of kinds that speak TLS other than by `--listen`."""
    return (
        Option(
            "certificate",
            "path",
            (),
            "PEM file with the certificate and its chain; again for other host names",
            short="c",
            repeatable=True,
            must_exist=True,
        ),
        Option(
            "privkey",
            "path",
            (),
            "PEM file with the private key, if it is not with the certificate; one for each",
            short="k",
            repeatable=True,
            must_exist=True,
        ),
    )


def certificates(values: Mapping[str, typing.Any]) -> list[tuple[str, str]]:
    """Return the files of certificates and private keys ("": the same file) that `certificate_options` named.

    Raises:
        ConfigurationError: there are some keys, but not one for each certificate.
    """
    return pair_certificates(values["certificate"], values["privkey"], "--privkey")


def listener_options(values: Mapping[str, typing.Any], base: ListenerOptions | None = None) -> ListenerOptions:
    """Return the listener's options out of checked values, over what `base` says of all others."""
    return dataclasses.replace(
        base or ListenerOptions(),
        max_connections=values["max-connections"],
        max_per_peer=values["max-per-peer"],
        idle_timeout=values["idle-timeout"],
        handshake_timeout=values["handshake-timeout"],
        throttle=values["throttle"],
        proxy_protocol_from=values["proxy-protocol-from"],
    )


def server_ports(
    values: Mapping[str, typing.Any],
    name: str,
    factory: ProtocolFactory,
    *,
    base: ListenerOptions | None = None,
) -> list[ServerPort]:
    """Return the ports that the options of `listening_options` stand for. Nothing is bound yet.

    Args:
        values: checked values that include those options.
        name: of the service, for the log and the metrics.
        factory: makes the protocol of one connection.
        base: what the options say nothing about, such as `alpn`.
    """
    options = listener_options(values, base)
    endpoints: list[Endpoint] = [parse_endpoint(text) for text in values["listen"]]
    if values["port"] is not None:
        endpoints.insert(0, TCPEndpoint(values["port"], values["interface"]))
    return [ServerPort(name, factory, endpoint, options) for endpoint in endpoints]
