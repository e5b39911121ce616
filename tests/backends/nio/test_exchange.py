"""The traffic with Java when an exception comes between: a KeyboardInterrupt is raised when a poll returns."""

from __future__ import annotations

import typing

import pytest

from portable.testing import wait_until
from tests.conformance.judge import End, raw_client
from tests.conformance.test_contract_backpressure import receive_all

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from backends.nio.reactor import NioReactor

MUCH = 16_000_000


def interrupted(call: Callable[..., object], *, before: bool) -> Callable[..., None]:
    """Return `call`, interrupted before or after it has done its work."""

    def interrupted_call(*args: int) -> None:
        if not before:
            call(*args)
        raise KeyboardInterrupt

    return interrupted_call


def step_interrupted(reactor: NioReactor, monkeypatch: pytest.MonkeyPatch, *, before: bool) -> None:
    with monkeypatch.context() as patch:
        exchange = reactor.exchange
        patch.setattr(exchange, "_poll", interrupted(exchange._poll, before=before))
        with pytest.raises(KeyboardInterrupt):
            reactor.step(0.05)


@pytest.mark.parametrize("before", [True, False])
def test_an_interrupted_poll_loses_nothing(
    nio: NioReactor, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    server = End()
    with raw_client(nio, server) as peer:
        for _ in range(3):
            server.transport.write(b"there")
            peer.sendall(b"back")
            step_interrupted(nio, monkeypatch, before=before)
        wait_until(nio, lambda: server.data == b"back" * 3)
        nio.step()
        assert peer.recv(100) == b"there" * 3
        peer.sendall(b"!")
        wait_until(nio, lambda: server.data == b"back" * 3 + b"!")


class InterruptedList(list[int]):
    """Raises KeyboardInterrupt when it is first looked at."""

    looked_at = False

    def __getitem__(self, index: typing.Any) -> typing.Any:
        if not self.looked_at:
            self.looked_at = True
            raise KeyboardInterrupt
        return super().__getitem__(index)


def test_an_interrupt_before_the_poll_loses_no_operation(nio: NioReactor) -> None:
    server = End()
    with raw_client(nio, server) as peer:
        server.transport.write(b"there")
        nio.exchange.ops = InterruptedList()
        with pytest.raises(KeyboardInterrupt):
            nio.step()
        nio.step()
        assert peer.recv(100) == b"there"


def test_an_interrupt_before_delivering_loses_nothing(nio: NioReactor, monkeypatch: pytest.MonkeyPatch) -> None:
    server = End()
    with raw_client(nio, server) as peer:
        peer.sendall(b"data")
        with monkeypatch.context() as patch:
            patch.setattr(nio.exchange, "deliver", interrupted(nio.exchange.deliver, before=True))
            with pytest.raises(KeyboardInterrupt):
                nio.step(1)
        nio.step()
        assert server.data == b"data"


@pytest.mark.parametrize("before", [True, False])
def test_what_was_refused_in_an_interrupted_poll_is_not_lost(
    nio: NioReactor, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    server = End()
    data = bytes(range(251)) * (MUCH // 251)
    with raw_client(nio, server) as peer:
        server.transport.write(data)
        for _ in range(100):
            step_interrupted(nio, monkeypatch, before=before)
        assert receive_all(nio, peer, len(data)) == data
        assert server.transport.get_extra_info("bytes_sent") == len(data)
