from __future__ import annotations

import pytest

from portable.errors import ConfigurationError
from portable.listener.activation import environment, inherited_sockets


def test_the_environment_is_this_processs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDNAMES", "here")
    assert environment()["LISTEN_FDNAMES"] == "here"


def test_sockets_are_found_by_name_or_number() -> None:
    environ = {"LISTEN_FDS": "3", "LISTEN_PID": "5", "LISTEN_FDNAMES": "web:1:web"}
    assert inherited_sockets("web", environ, 5) == [3, 5]
    assert inherited_sockets("1", environ, 5) == [4]
    assert inherited_sockets("2", environ, 5) == [5]
    assert inherited_sockets("0", {"LISTEN_FDS": "1", "LISTEN_PID": "5"}, 5) == [3]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"LISTEN_FDS": ""}, "gave this process no sockets"),
        ({"LISTEN_PID": "6"}, "for another process"),
        ({"LISTEN_PID": ""}, "for another process"),
        ({"LISTEN_FDS": "many"}, "'many'; it must be a number"),
        ({"LISTEN_FDS": "0"}, "must be a number"),
        ({"LISTEN_FDS": "99999999999999999999"}, "must be a number"),
        ({"LISTEN_FDNAMES": "web"}, "no socket of that name; it gave 2: web"),
        ({"LISTEN_FDNAMES": ""}, "it gave 2: no names"),
    ],
)
def test_a_missing_socket_is_explained(change: dict[str, str], complaint: str) -> None:
    environ = {"LISTEN_FDS": "2", "LISTEN_PID": "5", "LISTEN_FDNAMES": "web:mail", **change}
    with pytest.raises(ConfigurationError, match=r"^endpoint 'systemd:ftp': ") as caught:
        inherited_sockets("ftp", environ, 5)
    assert complaint in str(caught.value)
