"""Users in a file, and what is told of them."""

from __future__ import annotations

import typing

import pytest

from portable.deferred import Deferred, ensure_deferred
from portable.errors import ConfigurationError
from protocols.finger import Query
from protocols.servers.finger.answers import Answers
from protocols.servers.finger.users import MAX_FILE, FileUsers, User

if typing.TYPE_CHECKING:
    from pathlib import Path

TOML = '''
[alice]
name = "Alice Liddell"
office = "Deanery"
phone = "+44 1865 276150"
project = """Curiouser
and curiouser"""
plan = """
Down the rabbit hole,
then tea.
"""

["white.rabbit"]
name = "W. Rabbit"
'''
JSON = '{"hatter": {"name": "The Hatter", "plan": "Tea."}}'


def load(folder: Path, text: str | bytes, name: str = "users.toml") -> FileUsers:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    users = FileUsers(str(path))
    users.load()
    return users


def result(deferred: Deferred[typing.Any]) -> typing.Any:
    seen: list[object] = []
    deferred.add_both(seen.append)
    return seen[0]


def ask(answers: Answers, query: Query) -> str:
    return str(result(ensure_deferred(answers.answer(query))))


def test_users_of_a_toml_file(tmp_path: Path) -> None:
    users = load(tmp_path, TOML)
    assert [user.login for user in users.everybody()] == ["alice", "white.rabbit"]
    assert result(users.find("white.rabbit")) == User("white.rabbit", "W. Rabbit")
    assert result(users.find("queen")) is None
    assert result(users.find("")) is None


def test_users_of_a_json_file(tmp_path: Path) -> None:
    users = load(tmp_path, JSON, "users.json")
    assert result(users.find("hatter")) == User("hatter", "The Hatter", plan="Tea.")


@pytest.mark.parametrize(
    ("text", "name", "part"),
    [
        ("[alice", "u.toml", "u.toml"),
        ("{", "u.json", "u.json"),
        ("[]", "u.json", "not a table of users"),
        ("[" * 100_000, "u.json", "u.json"),
        (b"\xff", "u.toml", "utf-8"),
        ("alice = 1", "u.toml", "user 'alice': not a table"),
        ("[alice]\nplan = 'x'", "u.toml", "the full name is missing"),
        ("[alice]\nname = ''", "u.toml", "the full name is missing"),
        ("[alice]\nname = 1", "u.toml", "name is not a text"),
        ("[alice]\nname = 'A'\npassword = 'x'", "u.toml", "unknown field 'password'; known are: name, office"),
        ("['a b']\nname = 'A'", "u.toml", "nobody could ask"),
        ("['a@b']\nname = 'A'", "u.toml", "nobody could ask"),
        ("['']\nname = 'A'", "u.toml", "nobody could ask"),
        (b"#" * (MAX_FILE + 1), "u.toml", "u.toml"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_place(
    tmp_path: Path, text: str | bytes, name: str, part: str
) -> None:
    with pytest.raises(ConfigurationError, match="--users") as caught:
        load(tmp_path, text, name)
    assert part in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--users"):
        FileUsers(str(tmp_path / "none")).load()


def test_a_bad_file_leaves_the_users_that_were_read_before(tmp_path: Path) -> None:
    users = load(tmp_path, TOML)
    (tmp_path / "users.toml").write_text("[alice]")
    with pytest.raises(ConfigurationError):
        users.load()
    assert len(users.everybody()) == 2
    (tmp_path / "users.toml").write_text("[bill]\nname = 'Bill'")
    users.load()
    assert [user.login for user in users.everybody()] == ["bill"]


def test_what_is_told_of_a_user(tmp_path: Path) -> None:
    answers = Answers(load(tmp_path, TOML))
    assert ask(answers, Query("alice")) == (
        "Login: alice\nName: Alice Liddell\nPlan:\nDown the rabbit hole,\nthen tea."
    )
    assert ask(answers, Query("white.rabbit")) == "Login: white.rabbit\nName: W. Rabbit\nNo plan."


def test_w_asks_for_more(tmp_path: Path) -> None:
    answers = Answers(load(tmp_path, TOML))
    assert ask(answers, Query("alice", verbose=True)) == (
        "Login: alice\nName: Alice Liddell\nOffice: Deanery\nPhone: +44 1865 276150\nProject: Curiouser\n"
        "Plan:\nDown the rabbit hole,\nthen tea."
    )
    assert ask(answers, Query("white.rabbit", verbose=True)) == (
        "Login: white.rabbit\nName: W. Rabbit\nNo plan."
    )


def test_only_whole_login_names_find_a_user(tmp_path: Path) -> None:
    answers = Answers(load(tmp_path, TOML))
    for name in ("Alice", "ali", "Liddell", "alice bill", "*"):
        assert ask(answers, Query(name)) == f"{name}: no such user"


def test_the_list_of_users_is_refused_unless_it_is_wanted(tmp_path: Path) -> None:
    users = load(tmp_path, TOML)
    for query in (Query(""), Query("", verbose=True)):
        assert ask(Answers(users), query) == "Finger online user list denied"
        assert ask(Answers(users, users.everybody), query) == (
            "alice         Alice Liddell\nwhite.rabbit  W. Rabbit"
        )
    assert ask(Answers(users, list), Query("")) == "Nobody is here."


def test_forwarding_is_refused_unless_it_is_wanted(tmp_path: Path) -> None:
    answers = Answers(load(tmp_path, TOML))
    for hosts in (("localhost",), ("a", "b"), ("",)):
        for user in ("alice", ""):
            assert ask(answers, Query(user, hosts)) == "Finger forwarding service denied"
