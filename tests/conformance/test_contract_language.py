"""The codes of what goes wrong, in a process that has its messages in another language."""

from __future__ import annotations

import errno
import locale
import os
import pathlib
import typing

import pytest

from portable.errors import AddressNotAvailable, ConnectError
from portable.testing import wait_for, wait_until
from portable.transport import Address
from tests.conformance.judge import End
from tests.conformance.test_contract_datagrams import bound

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

    from portable.reactor import Reactor

# Any locale but "C" will do: the language is in its name.
_COMPILED = pathlib.Path("/usr/lib/locale/C.utf8")


@pytest.fixture
def german(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process whose system says what went wrong in German."""
    if not _COMPILED.exists():
        pytest.skip(f"there is no {_COMPILED}")
    (tmp_path / "de_DE.UTF-8").symlink_to(_COMPILED)
    monkeypatch.setenv("LOCPATH", str(tmp_path))
    monkeypatch.delenv("LANGUAGE", raising=False)
    before = locale.setlocale(locale.LC_MESSAGES)
    english = os.strerror(errno.ENOENT)
    locale.setlocale(locale.LC_MESSAGES, "de_DE.UTF-8")
    try:
        if os.strerror(errno.ENOENT) == english:
            pytest.skip("the system knows no German: apt-get install libc-l10n")
        yield
    finally:
        locale.setlocale(locale.LC_MESSAGES, before)


@pytest.fixture
def german_reactor(german: None, reactor: Reactor) -> Reactor:
    """A reactor of such a process."""
    return reactor


def test_codes_do_not_depend_on_the_language(german_reactor: Reactor, tmp_path: pathlib.Path) -> None:
    """Neither of listening, nor of connecting, nor of sending."""
    with pytest.raises(AddressNotAvailable):
        german_reactor.listen(End, "192.0.2.1")
    with pytest.raises(ConnectError) as caught:
        wait_for(german_reactor, german_reactor.connect_unix(End, str(tmp_path / "missing")))
    assert caught.value.code == "ENOENT"
    sender = bound(german_reactor)
    sender.transport.sendto(bytes(65_508), Address("127.0.0.1", 9))
    wait_until(german_reactor, lambda: sender.errors)
    assert sender.errors[0].code == "EMSGSIZE"
