from __future__ import annotations

import base64
import hashlib

import pytest

from portable.errors import ConfigurationError
from portable.passwords import MAX_PASSWORD, hash_password, normal_account, split_account, verify_password


def test_a_password_matches_its_own_hash_only() -> None:
    hashed = hash_password("correct horse")
    assert hashed.startswith("$scrypt$ln=14,r=8,p=1$")
    assert verify_password("correct horse", hashed)
    assert not verify_password("correct horsf", hashed)
    assert not verify_password("", hashed)


def test_two_hashes_of_one_password_differ() -> None:
    assert hash_password("same") != hash_password("same")


def test_a_hash_made_elsewhere_is_read() -> None:
    # RFC 7914 section 12, the second vector, in the PHC format.
    digest = bytes.fromhex(
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
        "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
    )
    salt = base64.b64encode(b"NaCl" * 2).decode().rstrip("=")
    text = base64.b64encode(digest).decode().rstrip("=")
    assert hashlib.scrypt(b"password", salt=b"NaCl", n=1024, r=8, p=16, dklen=64) == digest
    with_salt = hashlib.scrypt(b"password", salt=b"NaCl" * 2, n=1024, r=8, p=16, dklen=64)
    text = base64.b64encode(with_salt).decode().rstrip("=")
    assert verify_password("password", f"$scrypt$ln=10,r=8,p=16${salt}${text}")


def test_composed_and_decomposed_letters_are_the_same_password() -> None:
    assert verify_password("gru\u0308n", hash_password("gr\u00fcn"))


def test_a_password_without_end_is_wrong_and_costs_no_more() -> None:
    assert not verify_password("x" * (MAX_PASSWORD + 1), hash_password("x"))
    assert not verify_password("x" * (MAX_PASSWORD + 1), hash_password(""))


@pytest.mark.parametrize(
    "hashed",
    [
        "",
        "plain",
        "$scrypt$",
        "$scrypt$ln=14,r=8,p=1$c2FsdHNhbHQ$",
        "$scrypt$ln=14,r=8,p=1$c2FsdHNhbHRzYWx0c2$AAAAAAAAAAAAAAAAAAAAAAAAA",  # no length that base64 can have
        "$scrypt$ln=0,r=8,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=14,r=0,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=20,r=8,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAA",  # a gigabyte
        "$scrypt$ln=14,r=8,p=17$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAA",
    ],
)
def test_nonsense_and_hashes_that_ask_for_too_much_are_refused(hashed: str) -> None:
    with pytest.raises(ConfigurationError):
        verify_password("x", hashed)


def test_an_account_is_a_name_and_a_hash() -> None:
    name, colon, hashed = normal_account("fran\u0063\u0327ois:with:colons").partition(":")
    assert (name, colon) == ("fran\u00e7ois", ":")
    assert verify_password("with:colons", hashed)
    assert normal_account(f"x:{hashed}") == f"x:{hashed}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # A log hides what follows the word password and a colon.
        ("bob", "has no password; write"),
        ("bob:", "has no password"),
        (":secret", "cannot be the name"),
        (" bob:secret", "cannot be the name"),
        ("b\nob:secret", "cannot be the name"),
        ("bob:sec\x00ret", "control characters"),
        ("b" * 257 + ":secret", "more than 256 bytes"),
        ("bob:" + "s" * 1025, "more than 1024 bytes"),
        ("bob:$6$salt$secret", "hash of another program"),
        ("bob:$scrypt$secret", "not a hash"),
    ],
)
def test_what_is_no_account_is_refused_without_telling_the_password(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        split_account(text)
    assert "secret" not in str(caught.value)


def test_a_password_may_begin_with_a_dollar() -> None:
    assert split_account("bob:$Money$") == ("bob", "$Money$")
