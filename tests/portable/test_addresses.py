from __future__ import annotations

import ipaddress

import pytest

from portable.addresses import is_public, is_special, meanings


def test_a_name_means_no_address() -> None:
    assert meanings("example.com") == []
    assert not is_public("example.com")


def test_networks_are_special_only_as_a_whole() -> None:
    assert is_special(ipaddress.ip_network("10.0.0.0/8"))
    assert is_special(ipaddress.ip_network("fc00::/7"))
    for text in ("0.0.0.0/0", "10.0.0.0/7", "8.0.0.0/6", "::/0", "2000::/3", "64:ff9b::/96", "::/1"):
        assert not is_special(ipaddress.ip_network(text))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "224.0.0.1",
        "224.0.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff0e::1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "2002:7f00:1::1",
        "2002:a00:1::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "64:ff9b::7f00:1",
        "64:ff9b::10.0.0.1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["192.0.43.8", "2606:2800:21f:cb07::1", "::ffff:192.0.43.8", "64:ff9b::808:808"]
)
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)
