"""Which targets a proxy connects to: rules, and every way to say an address that it must not."""

from __future__ import annotations

import ipaddress

import pytest

from portable.errors import ConfigurationError
from protocols.socks.rules import Rule, Rules, parse_rule

PUBLIC = ["1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "2606:4700::1111", "64:ff9b::101:101"]
SPECIAL = [
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.168.1.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::5",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


def rules(allow: str = "", deny: str = "") -> Rules:
    return Rules([parse_rule(word) for word in allow.split()], [parse_rule(word) for word in deny.split()])


@pytest.mark.parametrize("address", SPECIAL)
def test_ssrf_special_addresses_are_refused_in_every_spelling(address: str) -> None:
    for policy in (rules(), rules("*"), rules("0.0.0.0/0 ::/0"), rules("inside.example 10.9.0.0/16")):
        assert not policy.may_connect(address, address, 80)
        assert not policy.may_connect("inside.example", address, 80)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_not(address: str) -> None:
    assert rules().may_connect(address, address, 80)
    assert rules("*:80").may_connect(address, address, 80)
    assert not rules("*:80").may_connect(address, address, 81)
    assert not rules("10.0.0.0/8").may_connect(address, address, 80)


def test_what_is_no_address_is_refused() -> None:
    assert not rules("*").may_connect("example.com", "example.com", 80)


def test_a_network_that_is_named_opens_private_addresses() -> None:
    policy = rules("10.0.0.0/8:80,8000-8010 ::1 fd00::/8")
    for address, port, allowed in (
        ("10.1.2.3", 80, True),
        ("10.1.2.3", 8005, True),
        ("10.1.2.3", 81, False),
        ("::ffff:10.1.2.3", 80, True),
        ("11.1.2.3", 80, False),
        ("::1", 1, True),
        ("fd12::1", 22, True),
        ("fe80::1", 22, False),
    ):
        assert policy.may_connect("any.example", address, port) is allowed


def test_an_address_inside_another_has_to_be_allowed_itself() -> None:
    assert rules("10.0.0.0/8").may_connect("64:ff9b::a00:1", "64:ff9b::a00:1", 80)
    assert not rules("64:ff9b::/96").may_connect("64:ff9b::a00:1", "64:ff9b::a00:1", 80)
    assert rules("64:ff9b::/96").may_connect("64:ff9b::101:101", "64:ff9b::101:101", 80)


def test_denied_before_allowed() -> None:
    policy = rules("*:443 10.0.0.0/8", "*.evil.example 1.2.3.0/24 10.0.0.1 *:25")
    assert policy.may_connect("good.example", "1.1.1.1", 443)
    for host, address, port in (
        ("a.b.evil.example", "1.1.1.1", 443),
        ("A.EVIL.example.", "1.1.1.1", 443),
        ("good.example", "1.2.3.4", 443),
        ("good.example", "::ffff:1.2.3.4", 443),
        ("good.example", "64:ff9b::1.2.3.4", 443),
        ("good.example", "2002:102:304::1", 443),
        ("10.0.0.1", "10.0.0.1", 22),
        ("10.0.0.2", "10.0.0.2", 25),
    ):
        assert not policy.may_connect(host, address, port)
    assert policy.may_connect("evil.example", "1.1.1.1", 443)


def test_names_that_cannot_be_allowed_are_not_looked_up() -> None:
    policy = rules("good.example:80 *.good.example", "bad.good.example")
    assert policy.may_ask_for("good.example", 80)
    assert policy.may_ask_for("any.good.example.", 1)
    for host, port in (("good.example", 81), ("evilgood.example", 80), ("bad.good.example", 80), ("x", 80)):
        assert not policy.may_ask_for(host, port)
    # Its address could be in the network.
    assert rules("10.0.0.0/8:80").may_ask_for("any.example", 80)
    assert not rules("10.0.0.0/8:80").may_ask_for("any.example", 81)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("*", Rule("*", None, ())),
        ("Example.COM.", Rule("example.com", None, ())),
        ("*.example.com:80", Rule("*.example.com", None, ((80, 80),))),
        ("localhost:1-65535", Rule("localhost", None, ((1, 65535),))),
        ("10.0.0.0/8:80,443", Rule("", ipaddress.ip_network("10.0.0.0/8"), ((80, 80), (443, 443)))),
        ("192.0.2.7", Rule("", ipaddress.ip_network("192.0.2.7/32"), ())),
        ("2001:db8::/32", Rule("", ipaddress.ip_network("2001:db8::/32"), ())),
        ("[2001:db8::]/32:80", Rule("", ipaddress.ip_network("2001:db8::/32"), ((80, 80),))),
        ("[2001:db8::/32]:80", Rule("", ipaddress.ip_network("2001:db8::/32"), ((80, 80),))),
        ("[::1]", Rule("", ipaddress.ip_network("::1/128"), ())),
        ("::ffff:10.0.0.0/104", Rule("", ipaddress.ip_network("10.0.0.0/8"), ())),
    ],
)
def test_what_a_person_writes(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":80",
        "a b",
        "**.example",
        "*.",
        "a*.example",
        "127.1",
        "*.0.0.1",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "example.com:",
        "example.com:0",
        "example.com:80-70",
        "example.com:65536",
        "example.com:http",
        "[::1",
        "[::1]x",
        "2001:db8::/32:80x/y",
    ],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--allow"):
        parse_rule(text, "--allow")
