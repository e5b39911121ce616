"""Where a publisher listens, and which options of the kind `web` go with it."""

from __future__ import annotations

import os.path
import typing

from portable.endpoints import SystemdEndpoint, UnixEndpoint, parse_endpoint
from portable.errors import ConfigurationError
from portable.listener import ServerPort
from portable.listening import listener_options
from protocols.servers.web.distributed.users import SOCKET

if typing.TYPE_CHECKING:
    from portable.endpoints import Endpoint
    from portable.protocol import ProtocolFactory

__all__ = ["check_distributed", "personal_ports"]

# Of the socket, unless --listen says otherwise: for servers of the same user, and root's.
_MODE = 0o600


def personal_ports(
    values: typing.Mapping[str, typing.Any], name: str, factory: ProtocolFactory
) -> list[ServerPort]:
    """Return the ports of a publisher, by default ~/.twistd-web-pb. Nothing is bound yet."""
    endpoints: list[Endpoint] = [parse_endpoint(text) for text in values["listen"]]
    if not endpoints:
        endpoints = [UnixEndpoint(os.path.expanduser(f"~/{SOCKET}"), _MODE)]
    options = listener_options(values)
    # Who can connect can say that a request is anybody's; a port of systemd's would let everybody.
    return [ServerPort(name, factory, endpoint, options, unix_only=True) for endpoint in endpoints]


def check_distributed(values: typing.Mapping[str, typing.Any], default_port: int) -> None:
    """Refuse options that have no meaning with --user or --personal.

    Args:
        default_port: what --port is if nobody has said anything.

    Raises:
        ConfigurationError: there is one.
    """
    if not values["personal"]:
        return
    if values["user"]:
        raise ConfigurationError("a server with --user cannot be behind another one", "--personal")
    # With --listen there is no default; without it, --port as it is by default cannot be told from none.
    default = None if values["listen"] else default_port
    if values["port"] != default:
        raise ConfigurationError("--personal serves on a Unix socket, not on a port", "--port")
    if values["interface"]:
        raise ConfigurationError("--personal serves on a Unix socket, which has no address", "--interface")
    if values["https"] is not None:
        raise ConfigurationError("--personal serves on a Unix socket, which has no use for HTTPS", "--https")
    for text in values["listen"]:
        if not isinstance(parse_endpoint(text), (UnixEndpoint, SystemdEndpoint)):
            # Who can connect can say that a request is anybody's.
            raise ConfigurationError("--personal listens on unix: and systemd: only", "--listen")
