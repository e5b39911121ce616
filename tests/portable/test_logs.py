from __future__ import annotations

import json
import logging
import sys
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import ConfigurationError
from portable.logs import MAX_MESSAGE, JSONFormatter, TextFormatter, escaped, masked


def record(message: typing.Any, *args: object, exc_info: typing.Any = None) -> logging.LogRecord:
    made = logging.LogRecord("portable.web", logging.INFO, "", 0, message, args, exc_info)
    made.created, made.msecs = 1_700_000_000.0, 7.0
    return made


def failure() -> typing.Any:
    try:
        raise ValueError("password=sesame\r\nforged")
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, \u00e9 and \u6f22", "plain, \u00e9 and \u6f22"),
        ("a\r\nb", "a\\x0d\\x0ab"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x00\x7f\x85\x9b", "\\x00\\x7f\\x85\\x9b"),
        ("user\u202eexe", "user\\u202eexe"),
        ("\u2066\u2069\u200f\u061c\ufeff", "\\u2066\\u2069\\u200f\\u061c\\ufeff"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\udc80", "\\udc80"),
    ],
)
def test_deceiving_characters_are_made_visible(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(st.text())
def test_whatever_is_logged_is_one_printable_line(text: str) -> None:
    line = TextFormatter().format(record("%s", text))
    assert len(line.splitlines()) == 1
    assert line.encode("utf-8")
    assert json.loads(JSONFormatter().format(record("%s", text)))["message"] == escaped(masked(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Basic YWxhZGRpbjpvcGVu", "Authorization: ***"),
        ("proxy-authorization: Bearer x y", "proxy-authorization: ***"),
        ("Cookie: a=b; c=d", "Cookie: ***"),
        ("{'authorization': 'x'}", "{'authorization': ***"),
        ("PASS sesame", "PASS ***"),
        ("AUTH PLAIN AGEAYg==", "AUTH PLAIN ***"),
        ("AUTH CRAM-MD5", "AUTH CRAM-MD5"),
        ("pass the salt", "pass the salt"),
        ("password=sesame&user=a", "password=***&user=a"),
        ('{"token": "abc", "n": 1}', '{"token": "***", "n": 1}'),
        ("api_key=1", "api_key=***"),
        ("http://user:sesame@host/", "http://user:***@host/"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_known_secrets_are_hidden_wherever_they_are() -> None:
    assert masked("the word is opensesame!", ["sesame", "is"]) == "the word is open***!"


def test_a_text_record() -> None:
    line = TextFormatter().format(record("listening: %s", "web tcp 127.0.0.1:8080"))
    assert line == "2023-11-14 22:13:20.007Z info    portable.web: listening: web tcp 127.0.0.1:8080"


def test_a_json_record() -> None:
    line = JSONFormatter(["s3cret"]).format(record("a\n%s", "s3cret \u202e"))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.007Z",
        "level": "info",
        "logger": "portable.web",
        "message": "a\\x0a*** \\u202e",
    }


def test_a_traceback_cannot_forge_records_or_tell_secrets() -> None:
    lines = TextFormatter().format(record("failed", exc_info=failure())).split("\n")
    assert len(lines) > 3
    assert all(line.startswith("  | ") for line in lines[1:])
    assert "sesame" not in "".join(lines)
    entry = json.loads(JSONFormatter().format(record("failed", exc_info=failure())))
    assert "ValueError" in entry["exception"]
    assert "sesame" not in entry["exception"]


def test_without_tracebacks_the_error_itself_remains() -> None:
    text = TextFormatter(tracebacks=False).format(record("failed", exc_info=failure()))
    place = f"({__file__}, line {failure.__code__.co_firstlineno + 2})"
    assert text.split("\n")[1:] == [f"  | ValueError: password=***\\x0d\\x0aforged {place}"]
    assert TextFormatter().format(record("fine", exc_info=(None, None, None))).endswith("fine")


@pytest.mark.parametrize("error", [ConfigurationError("no port"), SyntaxError("odd (x.py, line 1)")])
def test_errors_that_say_it_all_get_no_place(error: Exception) -> None:
    try:
        raise error
    except type(error):
        text = TextFormatter(tracebacks=False).format(record("failed", exc_info=sys.exc_info()))
    assert text.split("\n")[1:] == [f"  | {type(error).__name__}: {error}"]


def test_a_record_that_cannot_be_formatted_is_shown_as_it_is() -> None:
    line = TextFormatter().format(record("%d apples", "no"))
    assert "'%d apples' ('no',) (cannot be formatted" in line


def test_an_endless_record_is_cut() -> None:
    line = TextFormatter().format(record("x" * (MAX_MESSAGE + 10)))
    assert line.endswith(f"xxx... ({MAX_MESSAGE + 10} characters)")
    assert len(line) < MAX_MESSAGE + 200
