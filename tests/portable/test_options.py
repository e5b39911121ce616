from __future__ import annotations

import math
import os
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import ConfigurationError
from portable.options import TYPES, Kind, Option, check_values, format_duration, format_size
from portable.passwords import verify_password
from portable.service import Service


def option(type_name: str, default: typing.Any = None, **more: typing.Any) -> Option:
    return Option(
        "thing", type_name, default, "A thing", **{"secret": type_name in {"account", "password"}, **more}
    )


@pytest.mark.parametrize(
    ("type_name", "text", "value"),
    [
        ("str", "a b", "a b"),
        ("str", "", ""),
        ("int", "-12", -12),
        ("float", "1.5", 1.5),
        ("float", "2", 2.0),
        ("bool", "yes", True),
        ("bool", "0", False),
        ("port", "0", 0),
        ("port", "65535", 65535),
        ("size", "4096", 4096),
        ("size", "64k", 65536),
        ("size", "10MiB", 10 << 20),
        ("size", "1G", 1 << 30),
        ("duration", "10", 10.0),
        ("duration", "500ms", 0.5),
        ("duration", "1.5s", 1.5),
        ("duration", "2h", 7200.0),
        ("network", "10.0.0.0/8", "10.0.0.0/8"),
        ("network", "::1", "::1/128"),
        ("interface", "", ""),
        ("interface", "localhost", "localhost"),
        ("interface", "::1", "::1"),
        ("endpoint", "tcp:80:interface=[::1]", "tcp:80:interface=[::1]"),
        ("client-endpoint", "tcp:example.com:80", "tcp:example.com:80"),
    ],
)
def test_what_a_person_writes_becomes_a_value(type_name: str, text: str, value: typing.Any) -> None:
    default = False if type_name == "bool" else None
    parsed = option(type_name, default).parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("type_name", "text"),
    [
        ("account", "name"),
        ("password", ""),
        ("password", "$6$salt$hash"),
        ("int", "1.0"),
        ("int", "0x10"),
        ("int", "1_000"),
        ("int", "\u0661"),
        ("int", ""),
        ("float", "nan"),
        ("float", "1e3"),
        ("bool", "perhaps"),
        ("port", "65536"),
        ("port", "-1"),
        ("size", "-1"),
        ("size", "1T"),
        ("size", "1.5k"),
        ("duration", "-1s"),
        ("duration", "1 s"),
        ("duration", "inf"),
        ("network", "10.0.0.1/8"),
        ("network", "example.com"),
        ("interface", "eth0"),
        ("endpoint", "8080"),
        ("endpoint", "tcp:example.com:80"),
        ("client-endpoint", "tcp:80"),
        ("path", ""),
        ("path", "a\0b"),
        ("path", "~\0"),
        ("path", "~\ud800"),
        ("str", "\ud800"),
        ("str", "x" * 5000),
    ],
)
def test_wrong_words_are_refused_with_the_flag(type_name: str, text: str) -> None:
    default = False if type_name == "bool" else None
    with pytest.raises(ConfigurationError) as caught:
        option(type_name, default).parse(text)
    assert caught.value.where == "--thing"
    assert "\n" not in str(caught.value)


def test_paths_are_made_absolute(tmp_path: typing.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert option("path").parse("a/../b") == os.path.join(tmp_path, "b")
    assert option("path").parse("~/x") == os.path.join(os.path.expanduser("~"), "x")


def test_files_in_endpoints_are_made_absolute(tmp_path: typing.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parsed = option("endpoint").parse("tls:0:certificate=c.pem:privkey=k.pem")
    assert parsed == f"tls:0:certificate={tmp_path}/c.pem:privkey={tmp_path}/k.pem"
    assert option("endpoint").parse("tls:0:certificate=c.pem:certificate=d.pem") == (
        f"tls:0:certificate={tmp_path}/c.pem:certificate={tmp_path}/d.pem"
    )
    parsed = option("endpoint").parse("tls:0:certificate=c:privkey=k:certificate=d:privkey=l")
    assert parsed == "tls:0" + "".join(
        [f":certificate={tmp_path}/{cert}:privkey={tmp_path}/{key}" for cert, key in ("ck", "dl")]
    )
    assert option("endpoint").parse("unix:x.sock:mode=660") == f"unix:{tmp_path}/x.sock:mode=660"
    assert option("client-endpoint").parse("tls:h:1:ca=ca.pem") == f"tls:h:1:ca={tmp_path}/ca.pem"


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("str", 1),
        ("str", None),
        ("int", "1"),
        ("int", True),
        ("int", 1.0),
        ("int", 1 << 63),
        ("duration", 10**400),
        ("float", "1"),
        ("float", math.nan),
        ("float", math.inf),
        ("duration", math.nan),
        ("duration", math.inf),
        ("duration", -0.5),
        ("bool", 1),
        ("bool", "true"),
        ("port", 65536),
        ("port", []),
        ("size", 1.5),
        ("size", {}),
        ("path", "relative"),
        ("network", 7),
    ],
)
def test_wrong_json_is_refused_with_its_place(type_name: str, value: typing.Any) -> None:
    default = {"bool": False, "str": ""}.get(type_name, 1)
    with pytest.raises(ConfigurationError) as caught:
        option(type_name, default).check(value, "services[0].options.thing")
    assert caught.value.where == "services[0].options.thing"


def test_choices() -> None:
    color = option("choice", "red", choices=("red", "green"))
    assert color.parse("green") == "green"
    with pytest.raises(ConfigurationError, match="red, green"):
        color.parse("blue")
    peers = option("network", (), repeatable=True, choices=("unix",))
    assert peers.check(["unix", "10.0.0.1"], "x") == ("unix", "10.0.0.1/32")


def test_limits_are_inclusive() -> None:
    few = option("int", 1, minimum=1, maximum=3)
    assert [few.parse(str(number)) for number in (1, 3)] == [1, 3]
    for text, message in (("0", "from 1 to 3"), ("4", "from 1 to 3")):
        with pytest.raises(ConfigurationError, match=message):
            few.parse(text)
    with pytest.raises(ConfigurationError, match="5 or more"):
        option("int", minimum=5).parse("4")
    with pytest.raises(ConfigurationError, match="5 or less"):
        option("int", maximum=5).parse("6")


def test_null_means_nothing_only_where_nothing_is_possible() -> None:
    assert option("int").check(None, "x") is None
    for one in (option("int", 1), option("int", required=True)):
        with pytest.raises(ConfigurationError):
            one.check(None, "x")


def test_repeatable_values_are_a_tuple_with_places_of_their_own() -> None:
    names = option("int", (), repeatable=True, required=True)
    assert names.check([1, 2], "x") == (1, 2)
    with pytest.raises(ConfigurationError, match=r"x\[1\]"):
        names.check([1, "2"], "x")
    too_many: tuple[typing.Any, ...] = ("1", {}, [], [1] * 1001)
    for wrong in too_many:
        with pytest.raises(ConfigurationError):
            names.check(wrong, "x")


def test_a_single_value_is_one_of_a_repeatable_option() -> None:
    """An option may become repeatable, and files made before are still read."""
    assert option("path", (), repeatable=True).check("/a/b", "x") == ("/a/b",)
    with pytest.raises(ConfigurationError, match=r"^x: "):
        option("int", (), repeatable=True).check("1", "x")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Option("Upper", "int", 1, ""),
        lambda: Option("under_score", "int", 1, ""),
        lambda: Option("x", "integer", 1, ""),
        lambda: Option("x", "int", 1, "", short="xx"),
        lambda: Option("x", "int", 1, "", short="h"),
        lambda: Option("x", "choice", "a", ""),
        lambda: Option("x", "int", 1, "", choices=("a",)),
        lambda: Option("x", "bool", None, ""),
        lambda: Option("x", "int", 1, "", repeatable=True),
        lambda: Option("x", "str", "", "", must_exist=True),
        lambda: Option("x", "str", "", "", writes=True),
        lambda: Option("a", "account", (), "", repeatable=True),
        lambda: Option("a", "password", None, ""),
    ],
)
def test_impossible_declarations_are_refused(make: typing.Callable[[], Option]) -> None:
    with pytest.raises(ValueError, match="option"):
        make()


def make_service(_: typing.Any) -> Service:
    return Service("x")


def test_a_kind_refuses_two_options_of_one_name() -> None:
    for pair in (
        (Option("a", "int", 1, ""), Option("a", "str", "", "")),
        (Option("a", "int", 1, "", short="x"), Option("b", "int", 1, "", short="x")),
        (Option("a", "bool", False, ""), Option("no-a", "int", 1, "")),
    ):
        with pytest.raises(ValueError, match="two options"):
            Kind("x", 1, "", pair, make_service)
    with pytest.raises(ValueError, match="lower-case"):
        Kind("X", 1, "", (), make_service)


def test_a_kind_knows_its_options() -> None:
    one = Option("a", "int", 1, "")
    assert Kind("x", 1, "", (one,), make_service).option("a") is one
    with pytest.raises(KeyError):
        Kind("x", 1, "", (one,), make_service).option("b")


def test_defaults_fill_what_is_not_given() -> None:
    options = (
        Option("port", "port", 80, "", unless="listen"),
        Option("listen", "endpoint", (), "", repeatable=True),
        Option("name", "str", (), "", repeatable=True, unless="port"),
    )
    assert check_values(options, {}) == {"port": 80, "listen": (), "name": ()}
    assert check_values(options, {"listen": ["tcp:1"]})["port"] is None
    assert check_values(options, {"listen": ["tcp:1"], "port": 80})["port"] == 80
    assert check_values(options, {"port": 1})["name"] == ()


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({}, "options.a"),
        ({"a": 1, "b": 1}, "options.b"),
        ({"a": 1, "\x1b[2J": 1}, "options.'\\x1b[2J'"),
        ({"a": "1"}, "options.a"),
    ],
)
def test_the_place_of_what_is_missing_or_unknown(values: dict[str, typing.Any], where: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_values((Option("a", "int", None, "", required=True),), values)
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("type_name", "value", "text"),
    [
        ("bool", True, "yes"),
        ("bool", False, "no"),
        ("size", 65536, "64k"),
        ("duration", 90.0, "90s"),
        ("float", 1.5, "1.5"),
        ("str", "x", "x"),
    ],
)
def test_values_are_shown_as_a_person_writes_them(type_name: str, value: typing.Any, text: str) -> None:
    assert option(type_name, value).format(value) == text


def test_secrets_are_not_shown_and_lists_are_joined() -> None:
    assert option("str", secret=True).format("sesame") == "***"
    assert option("size", (), repeatable=True).format((1024, 1)) == "1k, 1"


@given(st.integers(0, 1 << 50))
def test_a_size_reads_back_as_it_was_shown(count: int) -> None:
    assert option("size").parse(format_size(count)) == count


@given(st.integers(0, 10**6))
def test_a_duration_reads_back_as_it_was_shown(seconds: int) -> None:
    assert math.isclose(option("duration").parse(format_duration(float(seconds))), seconds, rel_tol=1e-5)


@given(st.sampled_from(TYPES), st.text(max_size=30))
def test_no_text_brings_anything_but_a_configuration_error(type_name: str, text: str) -> None:
    choices = ("a",) if type_name == "choice" else ()
    one = Option("thing", type_name, False if type_name == "bool" else None, "", choices=choices, secret=True)
    try:
        value = one.parse(text)
    except ConfigurationError:
        return
    # What was accepted on the command line is accepted from the file.
    assert one.check(value, "x") == value


def test_a_password_is_hashed_when_it_is_written_and_refused_in_clear() -> None:
    password = option("password", None)
    hashed = password.parse("a:b secret")
    assert verify_password("a:b secret", hashed)
    assert password.parse(hashed) == hashed
    assert password.check(hashed, "here") == hashed
    assert password.format(hashed) == "***"
    with pytest.raises(ConfigurationError, match="here: the password is in clear"):
        password.check("a secret", "here")
