"""Echo, discard, chargen, daytime, time and quote of the day: what RFC 862 to 868 say, byte by byte."""

from __future__ import annotations

import calendar
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.deferred import Deferred
from portable.errors import (
    ConnectionReset,
    FrameworkError,
    LocalProtocolError,
    RemoteProtocolError,
    TimedOut,
)
from portable.protocol import Protocol
from portable.testing import ManualClock, MemoryDatagramTransport, MemoryTransport
from portable.transport import HIGH_WATER
from protocols.chargen import MAX_DATAGRAM, RING, Chargen, DatagramCharacters, line
from protocols.daytime import Daytime, fetch_daytime, format_daytime
from protocols.discard import Discard, DiscardDatagrams
from protocols.echo import Echo, echo_answer
from protocols.oneanswer import LINGER, FetchOne, OneAnswer, fetch
from protocols.qotd import MAX_QUOTE, PROVERBS, Quotes, encode_quote, fetch_quote
from protocols.timeserver import TimeServer, decode_time, encode_time, fetch_time

if typing.TYPE_CHECKING:
    from portable.protocol import ProtocolFactory, StreamProtocol
    from portable.reactor import Listener

    P = typing.TypeVar("P", bound=StreamProtocol)


def noon(year: int, month: int, day: int) -> int:
    return calendar.timegm((year, month, day, 12, 0, 0))


class OneHost(ManualClock):
    """A network on which every address answers with a memory transport that the test plays the server of."""

    def __init__(self) -> None:
        super().__init__()
        self.transports: list[MemoryTransport] = []
        self.asked: list[tuple[str, int]] = []

    def connect(
        self,
        factory: typing.Callable[[], P],
        host: str,
        port: int,
        *,
        timeout: float = 30.0,
        local_host: str = "",
    ) -> Deferred[P]:
        self.asked.append((host, port))
        protocol = factory()
        self.transports.append(MemoryTransport(protocol, self))
        done: Deferred[P] = Deferred()
        self.call_soon(done.callback, protocol)
        return done

    def listen(
        self,
        factory: ProtocolFactory,
        host: str = "",
        port: int = 0,
        *,
        backlog: int = 1,
        reuse_port: bool = False,
    ) -> Listener:
        raise NotImplementedError


def results(deferred: Deferred[typing.Any]) -> list[object]:
    seen: list[object] = []
    deferred.add_both(seen.append)
    return seen


# Echo


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=10))
def test_echo_sends_back_everything_and_ends_with_its_peer(chunks: list[bytes]) -> None:
    transport = MemoryTransport(Echo())
    for chunk in chunks:
        transport.receive(chunk)
    assert transport.written == b"".join(chunks)
    transport.receive_eof()
    assert transport.lost
    assert transport.lost_reason is None


def test_echo_does_not_read_faster_than_its_peer() -> None:
    transport = MemoryTransport(Echo(), window=0)
    for _ in range(10):
        transport.receive(b"x" * HIGH_WATER)
    transport.receive_eof()
    assert transport.get_write_buffer_size() == 2 * HIGH_WATER
    assert transport.unread == 8 * HIGH_WATER
    assert not transport.is_closing()
    transport.allow(None)
    assert len(transport.written) == 10 * HIGH_WATER
    assert transport.lost


def test_echo_datagram() -> None:
    assert echo_answer(b"ping") == b"ping"


# Discard


def test_discard_says_nothing() -> None:
    transport = MemoryTransport(Discard())
    transport.receive(b"x" * 1000)
    transport.receive_eof()
    assert transport.written == b""
    assert transport.lost
    datagrams = MemoryDatagramTransport(DiscardDatagrams())
    datagrams.receive(b"x")
    assert datagrams.sent == []


# Chargen


def test_chargen_lines_are_those_of_the_rfc() -> None:
    assert line(0) == b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n"
    assert line(1) == b"!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh\r\n"
    assert line(94).startswith(b'~ !"')
    assert line(95) == line(0)
    assert len(RING) == 95


def test_chargen_sends_what_the_peer_takes_and_no_more() -> None:
    transport = MemoryTransport(Chargen(clock := ManualClock()), clock, window=0)
    for _ in range(20):
        transport.allow(30_000)
        assert transport.get_write_buffer_size() < HIGH_WATER + 95 * 74
    stream = transport.take()
    assert len(stream) == 600_000
    lines = stream.split(b"\r\n")
    for number, one in enumerate(lines[:-1]):
        assert one + b"\r\n" == line(number)


def test_chargen_ignores_what_it_is_told_and_goes_on_after_the_end_of_that() -> None:
    transport = MemoryTransport(Chargen(clock := ManualClock()), clock, window=0)
    transport.receive(b"stop it")
    transport.receive_eof()
    assert not transport.is_closing()
    transport.allow(1000)
    assert len(transport.take()) == 1000
    transport.lose(ConnectionReset("gone"))
    assert transport.lost
    assert transport.clock.next_time() is None


def test_chargen_datagrams_have_0_to_512_characters() -> None:
    characters = DatagramCharacters()
    sizes = {len(characters.answer(b"")) for _ in range(200)}
    assert min(sizes) >= 0
    assert max(sizes) <= MAX_DATAGRAM
    assert len(sizes) > 20
    assert DatagramCharacters(lambda below: below - 1).answer(b"x") == b"".join(map(line, range(7)))[:512]
    assert DatagramCharacters(lambda below: 0).answer(b"x") == b""


# Daytime


def test_daytime_is_the_form_of_the_rfc() -> None:
    moment = calendar.timegm((1982, 2, 22, 17, 37, 43))
    assert format_daytime(moment) == b"Monday, February 22, 1982 17:37:43-UTC\r\n"
    assert Daytime(lambda: moment + 0.9).now() == b"Monday, February 22, 1982 17:37:43-UTC\r\n"
    assert Daytime(lambda: 0).answer(b"?") == b"Thursday, January 1, 1970 00:00:00-UTC\r\n"


# Time


@pytest.mark.parametrize(
    ("date", "number"),
    [
        ((1970, 1, 1), 2_208_988_800),
        ((1976, 1, 1), 2_398_291_200),
        ((1980, 1, 1), 2_524_521_600),
        ((1983, 5, 1), 2_629_584_000),
        ((1858, 11, 17), -1_297_728_000 % 2**32),
    ],
)
def test_time_examples_of_the_rfc(date: tuple[int, int, int], number: int) -> None:
    seconds = calendar.timegm((*date, 0, 0, 0))
    assert int.from_bytes(encode_time(seconds), "big") == number
    assert decode_time(encode_time(seconds), near=seconds) == seconds


def test_time_wraps_in_2036() -> None:
    last = calendar.timegm((2036, 2, 7, 6, 28, 15))
    assert encode_time(last) == b"\xff\xff\xff\xff"
    assert encode_time(last + 1) == b"\x00\x00\x00\x00"
    assert decode_time(b"\x00\x00\x00\x00", near=noon(2026, 1, 1)) == last + 1
    assert decode_time(b"\xff\xff\xff\xff", near=noon(2040, 1, 1)) == last


@given(seconds=st.integers(-(2**33), 2**35), off=st.integers(-(2**31) + 1, 2**31 - 1))
def test_time_comes_back_if_ours_is_less_than_68_years_off(seconds: int, off: int) -> None:
    assert decode_time(encode_time(seconds), near=seconds + off) == seconds


def test_time_of_the_wrong_length_is_refused() -> None:
    for data in (b"", b"\0\0\0", b"\0\0\0\0\0"):
        with pytest.raises(RemoteProtocolError, match="4 bytes"):
            decode_time(data, 0)
    assert TimeServer(lambda: 0.5).now() == TimeServer(lambda: 0).answer(b"?") == bytes.fromhex("83aa7e80")


# Quote of the day


def test_quotes_change_at_midnight() -> None:
    now = [86_399.9]
    quotes = Quotes(["first\nof two lines", "second"], lambda: now[0])
    assert quotes.today() == b"first\r\nof two lines\r\n"
    now[0] = 86_400
    assert quotes.answer(b"?") == b"second\r\n"
    now[0] = 2 * 86_400
    assert quotes.today().startswith(b"first")


def test_quotes_keep_to_the_rfc() -> None:
    assert len(encode_quote("x" * (MAX_QUOTE - 2))) == MAX_QUOTE
    for bad in ("x" * (MAX_QUOTE - 1), "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "bell\a", "\x1b[2J"):
        with pytest.raises(LocalProtocolError):
            encode_quote(bad)
    with pytest.raises(LocalProtocolError):
        Quotes([])
    for quote in PROVERBS:
        encode_quote(quote)


# One answer, server and client


def test_one_answer_then_the_end() -> None:
    transport = MemoryTransport(OneAnswer(lambda: b"answer\r\n", clock := ManualClock()), clock)
    assert transport.written == b"answer\r\n"
    assert transport.eof_written
    assert not transport.is_closing()
    transport.receive(b"thrown away")
    transport.receive_eof()
    assert transport.lost
    assert clock.next_time() is None


def test_one_answer_does_not_wait_for_ever() -> None:
    transport = MemoryTransport(OneAnswer(lambda: b"answer\r\n", clock := ManualClock()), clock)
    clock.advance(LINGER)
    assert transport.lost


def test_one_answer_where_half_close_is_impossible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryTransport, "can_write_eof", lambda self: False)
    transport = MemoryTransport(OneAnswer(lambda: b"answer\r\n", clock := ManualClock()), clock)
    transport.settle()
    assert transport.written == b"answer\r\n"
    assert transport.lost


def answered(
    ask: typing.Callable[[OneHost], Deferred[typing.Any]], chunks: list[bytes]
) -> tuple[OneHost, object]:
    """Return the network and what the client made of `chunks` and an end of stream."""
    network = OneHost()
    seen = results(ask(network))
    network.advance(0)
    for chunk in chunks:
        network.transports[0].receive(chunk)
    network.transports[0].receive_eof()
    network.advance(0)
    assert len(seen) == 1
    assert network.next_time() is None
    return network, seen[0]


def test_clients_understand_their_servers() -> None:
    seconds = noon(2026, 11, 23)
    network, text = answered(
        lambda net: fetch_daytime(net, "192.0.2.9"),
        [Daytime(lambda: seconds).now()[:5], Daytime(lambda: seconds).now()[5:]],
    )
    assert text == "Monday, November 23, 2026 12:00:00-UTC"
    assert network.asked == [("192.0.2.9", 13)]
    network, number = answered(
        lambda net: fetch_time(net, "192.0.2.9", time_of_day=lambda: seconds + 100.0), [encode_time(seconds)]
    )
    assert number == seconds
    assert network.asked == [("192.0.2.9", 37)]
    network, quote = answered(lambda net: fetch_quote(net, "192.0.2.9"), [encode_quote("one\ntwo")])
    assert quote == "one\ntwo"
    assert network.asked == [("192.0.2.9", 17)]


def test_clients_refuse_answers_that_are_too_long_or_too_short() -> None:
    _, error = answered(lambda net: fetch_time(net, "192.0.2.9"), [b"\0\0\0"])
    assert isinstance(error, RemoteProtocolError)
    network, error = answered(lambda net: fetch_time(net, "192.0.2.9"), [b"\0\0\0\0", b"\0"])
    assert isinstance(error, RemoteProtocolError)
    assert network.transports[0].aborted


def test_client_tells_a_broken_connection() -> None:
    network = OneHost()
    seen = results(fetch(network, "192.0.2.9", 1, 10, 5.0))
    network.advance(0)
    network.transports[0].receive(b"half")
    network.transports[0].lose()
    assert isinstance(seen[0], ConnectionReset)


def test_client_gives_up_in_time() -> None:
    network = OneHost()
    seen = results(fetch(network, "192.0.2.9", 1, 10, 5.0))
    network.advance(4.9)
    assert seen == []
    network.advance(0.2)
    assert isinstance(seen[0], TimedOut)
    assert network.transports[0].aborted


def test_client_cancelled_before_it_is_connected() -> None:
    client = FetchOne(10)
    seen = results(client.answer)
    client.answer.cancel()
    assert isinstance(seen[0], FrameworkError)


def test_too_much_is_told_once() -> None:
    client = FetchOne(2)
    transport = MemoryTransport(client)
    seen = results(client.answer)
    client.data_received(b"abc")
    client.data_received(b"def")
    transport.settle()
    assert len(seen) == 1
    assert isinstance(seen[0], RemoteProtocolError)
    assert isinstance(client, Protocol)
