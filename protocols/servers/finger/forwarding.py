"""Passing queries on to other hosts (RFC 1288 2.4), for those who ask for it.

A server that forwards lends its address to whoever asks. So it is off unless it is wanted, and then goes to
public addresses only, or to networks that were named; to the port of finger only; through few hosts, few at a
time, and for a short time.
"""

from __future__ import annotations

import logging
import re
import typing

from portable.addresses import is_public
from portable.deferred import ensure_deferred
from portable.errors import Cancelled, FrameworkError
from portable.happyeyeballs import connect_to_addresses, interleave
from portable.peers import PeerSet
from portable.transport import Address
from protocols.finger import PORT, Query, decode_answer, encode_query
from protocols.oneanswer import FetchOne

if typing.TYPE_CHECKING:
    from portable.reactor import Names
    from protocols.oneanswer import Network

    class Resolver(Network, Names, typing.Protocol):
        """What forwarding needs of a reactor."""


__all__ = ["MAX_FORWARDS", "MAX_HOSTS", "Forwarder"]

# Hosts in one query. Each costs a connection, and "a@us@us@us" comes back to us each time.
MAX_HOSTS = 2
# At the same time: each holds a connection, and people ask seldom.
MAX_FORWARDS = 10
# Addresses of one host that are tried.
MAX_ADDRESSES = 3
# Seconds for the whole; less than what the server waits for its answer.
FORWARD_TIMEOUT = 15.0
# Bytes of an answer that is passed on.
MAX_FORWARDED = 64 * 1024

BUSY = "Too many queries are being forwarded. Try again later."
TOO_FAR = f"A query is forwarded through at most {MAX_HOSTS} hosts."
DENIED = "Finger forwarding to that host is denied."
FAILED = "That host does not answer."

_HOST = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,252}|[0-9A-Fa-f:.]{2,45}")

_log = logging.getLogger("protocols.servers.finger")


class Forwarder:
    """Asks other hosts.

    Args:
        network: to connect by.
        networks: that may be asked although they are not public.
        port: where others listen.
    """

    def __init__(self, network: Resolver, networks: typing.Sequence[str] = (), port: int = PORT) -> None:
        self._network = network
        self._allowed = PeerSet(networks)
        self._port = port
        self._under_way = 0

    async def forward(self, query: Query) -> str:
        """Return what the last host of `query` answers to the rest of it, or why it is not asked."""
        if len(query.hosts) > MAX_HOSTS:
            return TOO_FAR
        if self._under_way >= MAX_FORWARDS:
            return BUSY
        host = query.hosts[-1]
        if not _HOST.fullmatch(host):
            return DENIED
        rest = Query(query.user, query.hosts[:-1], query.verbose)
        self._under_way += 1
        try:
            return await ensure_deferred(self._ask(host, rest)).timeout(FORWARD_TIMEOUT, self._network)
        except Cancelled:
            raise  # the client has gone
        except FrameworkError as error:
            _log.info("cannot forward to %s: %s", host, error)
            return FAILED
        finally:
            self._under_way -= 1

    async def _ask(self, host: str, query: Query) -> str:
        """Ask at the address that answers first.

        Raises:
            FrameworkError: none does; the last one's error.
        """
        request = encode_query(query)
        addresses = await self._network.resolve(host)
        # The literal addresses that were looked at are asked: a second look at the name could find others.
        may_ask = interleave([address for address in addresses if self._may_ask(address)])
        if not may_ask:
            _log.info("not forwarded to %s: %s", host, ", ".join(addresses))
            return DENIED
        client = await connect_to_addresses(
            self._network, lambda: FetchOne(MAX_FORWARDED, request), may_ask[:MAX_ADDRESSES], self._port
        )
        answer = await client.answer
        return decode_answer(answer, international=True)

    def _may_ask(self, address: str) -> bool:
        return is_public(address) or Address(address, self._port) in self._allowed
