from __future__ import annotations

import pytest

from portable.errors import ConfigurationError
from portable.peers import PeerSet, peer_key
from portable.transport import Address


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.0.0.1", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("fd00::5", True),
        ("fe80::1%eth0", False),
        ("::1", False),
        ("no address", False),
    ],
)
def test_a_set_of_peers(host: str, inside: bool) -> None:
    peers = PeerSet(["10.0.0.0/8", "::ffff:192.0.2.7", "fd00::/8"])
    assert (Address(host, 1) in peers) is inside


def test_unix_peers_are_in_a_set_when_it_says_so() -> None:
    assert "" in PeerSet(["unix"])
    assert "" not in PeerSet(["0.0.0.0/0", "::/0"])
    assert None not in PeerSet(["unix"])
    assert PeerSet(["unix"])
    assert not PeerSet([])


def test_a_wrong_network_says_where() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^options\.x: 'localhost' is neither an address nor a network"
    ):
        PeerSet(["localhost"], "options.x")


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        (Address("192.0.2.7", 5), "192.0.2.7"),
        (Address("::ffff:192.0.2.7", 5), "192.0.2.7"),
        (Address("2001:db8:0:1:2:3:4:5", 5), "20010db800000001/64"),
        (Address("fe80::1%eth0", 5), "fe80000000000000/64"),
        (Address("not:an:address", 5), "not:an:address"),
        ("/run/client", ""),
        (None, ""),
    ],
)
def test_connections_of_one_peer_have_one_key(peer: Address | str | None, key: str) -> None:
    assert peer_key(peer) == key
