"""Lines: endings, limits, raw mode, and cost."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import LocalProtocolError, RemoteProtocolError
from portable.framing import LineEnding, LineReader, encode_line
from tests.strategies import splits


def outcome(chunks: list[bytes], limit: int, ending: LineEnding) -> list[bytes | str]:
    """Return the lines, then the error if there was one."""
    reader = LineReader(limit, ending)
    seen: list[bytes | str] = []
    for chunk in chunks:
        reader.receive_data(chunk)
        try:
            while (line := reader.next_line()) is not None:
                seen.append(line)
        except RemoteProtocolError as error:
            if str(error) not in seen:
                seen.append(str(error))
    return seen


def naive(stream: bytes, limit: int, ending: LineEnding) -> list[bytes | str]:
    """Say the same byte by byte, as the docstrings define it."""
    seen: list[bytes | str] = []
    line = b""
    for index in range(len(stream)):
        byte = stream[index : index + 1]
        after_cr = line.endswith(b"\r")
        if ending is LineEnding.CRLF and after_cr and byte != b"\n":
            return [*seen, "a CR without LF in a line that must end with CR LF"]
        if byte == b"\n":
            content = line[:-1] if after_cr else line
            if len(content) > limit:
                return [*seen, f"a line of more than {limit} bytes"]
            if ending is LineEnding.CRLF and not after_cr:
                return [*seen, "an LF without CR before it in a line that must end with CR LF"]
            seen.append(content)
            line = b""
            continue
        line += byte
        if len(line) > limit + 1 or (len(line) == limit + 1 and byte != b"\r"):
            return [*seen, f"a line of more than {limit} bytes"]
    return seen


STREAMS = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r", b"a", b"bc", b"defgh", b"", b"x\r\ny\r\nz\r\nw\r\n"]),
        max_size=25,
    ).map(b"".join),
    st.lists(st.sampled_from([b"\r\n", b"a\r\n", b"bcd\r\n"]), max_size=12).map(b"".join),
)


@given(
    stream=STREAMS, limit=st.integers(0, 9), ending=st.sampled_from(sorted(LineEnding, key=str)), data=st.data()
)
def test_any_split_gives_the_same_lines_and_error(
    stream: bytes, limit: int, ending: LineEnding, data: st.DataObject
) -> None:
    expected = naive(stream, limit, ending)
    assert outcome([stream], limit, ending) == expected
    assert outcome(data.draw(splits(stream)), limit, ending) == expected


@given(stream=STREAMS, script=st.lists(st.integers(0, 12), max_size=30), data=st.data())
def test_lines_and_raw_bytes_alternate_without_loss(
    stream: bytes, script: list[int], data: st.DataObject
) -> None:
    """Whatever is asked in whatever order, the pieces are the stream."""
    reader = LineReader(1000, LineEnding.LENIENT)
    taken = b""
    steps = list(script)
    for chunk in data.draw(splits(stream)):
        reader.receive_data(chunk)
        while steps:
            count = steps.pop()
            if count < 7:
                piece = reader.read_raw(count)
            elif count < 10:
                piece = reader.read_exactly(count - 7) or b""
            else:
                before = len(reader)
                line = reader.next_line()
                piece = stream[len(taken) : len(taken) + before - len(reader)]
                assert line is None or piece in {line + b"\n", line + b"\r\n"}
            taken += piece
            assert stream.startswith(taken)
            if count == 0:
                break
    assert taken + reader.take_remainder() == stream
    assert len(reader) == 0


def test_strict_lines() -> None:
    reader = LineReader(5)
    reader.receive_data(b"hello\r\n\r\nwor")
    assert reader.next_line() == b"hello"
    assert reader.next_line() == b""
    assert reader.next_line() is None
    assert len(reader) == 3
    reader.receive_data(b"ld\r")
    assert reader.next_line() is None
    reader.receive_data(b"\n")
    assert reader.next_line() == b"world"
    assert len(reader) == 0


def test_smuggling_endings_are_refused_with_the_reason() -> None:
    for stream, word in [
        (b"a\n.\r\n", "LF without CR"),
        (b"a\r.\r\n", "CR without LF"),
        (b"a\r\r\n", "CR without LF"),
        (b"\n", "LF without CR"),
        (b"a\r\n\n", "LF without CR"),
    ]:
        assert word in str(outcome([stream], 100, LineEnding.CRLF)[-1]), stream


def test_lenient_lines_keep_a_cr_inside() -> None:
    assert outcome([b"a\rb\nc\r\n\n\r\r\n"], 9, LineEnding.LENIENT) == [b"a\rb", b"c", b"", b"\r"]


def test_the_limit_does_not_count_the_ending() -> None:
    for ending in LineEnding:
        assert outcome([b"12345\r", b"\n"], 5, ending) == [b"12345"]
        assert outcome([b"123456"], 5, ending) == ["a line of more than 5 bytes"]
        assert outcome([b"123456\r\n"], 5, ending) == ["a line of more than 5 bytes"]
        assert outcome([b"12345\r\n123456\r\n1\r\n1\r\n1\r\n"], 5, ending) == [
            b"12345",
            "a line of more than 5 bytes",
        ]


def test_an_endless_line_is_refused_before_it_is_held() -> None:
    reader = LineReader(10_000)
    chunk = b"x" * 1_000
    tracemalloc.start()
    try:
        refused = False
        for _ in range(10_000):  # 10 MB
            reader.receive_data(chunk)
            if refused:
                continue
            try:
                assert reader.next_line() is None
            except RemoteProtocolError:
                refused = True
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused
    assert peak < 100_000


def test_an_error_is_final() -> None:
    reader = LineReader(5)
    reader.receive_data(b"a\r\nb\nc\r\n")
    assert reader.next_line() == b"a"
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="LF without CR"):
            reader.next_line()
    reader.receive_data(b"fine\r\n")
    assert len(reader) == 0
    for call in (
        reader.next_line,
        reader.take_remainder,
        lambda: reader.read_raw(1),
        lambda: reader.read_exactly(1),
    ):
        with pytest.raises(RemoteProtocolError, match="LF without CR"):
            call()


def test_an_error_behind_lines_cut_ahead_is_final_too() -> None:
    reader = LineReader(5)
    reader.receive_data(b"a\r\nb\r\nc\r\nd\r\nlonger")
    assert [reader.next_line() for _ in range(4)] == [b"a", b"b", b"c", b"d"]
    with pytest.raises(RemoteProtocolError, match="more than 5"):
        reader.next_line()
    assert len(reader) == 0


def test_raw_mode_takes_what_follows_a_line() -> None:
    reader = LineReader(100)
    reader.receive_data(b"DATA 5\r\nab\r\ncQUIT\r\nA\r\nB\r\nrest")
    assert reader.next_line() == b"DATA 5"
    assert reader.read_exactly(100) is None
    assert reader.read_exactly(5) == b"ab\r\nc"
    assert reader.next_line() == b"QUIT"
    assert reader.read_raw(2) == b"A\r"
    assert reader.read_raw(1) == b"\n"
    assert len(reader) == 7
    assert reader.take_remainder() == b"B\r\nrest"
    assert reader.read_raw(10) == b""
    assert reader.read_exactly(0) == b""


def test_many_lines_in_one_chunk_of_any_kind() -> None:
    assert outcome([b"1\r\n2\n3\r\n4\n5"], 9, LineEnding.LENIENT) == [b"1", b"2", b"3", b"4"]
    assert outcome([b"1\n2\n3\n4\n5"], 9, LineEnding.LENIENT) == [b"1", b"2", b"3", b"4"]
    assert outcome([b"1\r\n2\r\n\r3\r\n4\r\n"], 9, LineEnding.CRLF)[:2] == [b"1", b"2"]


def test_more_bytes_while_lines_are_still_waiting() -> None:
    reader = LineReader(100)
    reader.receive_data(b"1\r\n2\r\n3\r\n4\r\n")
    assert reader.next_line() == b"1"
    reader.receive_data(b"5\r\n")
    reader.receive_data(b"6\r\n7\r\n8\r\n9\r\nlast line ")
    reader.receive_data(b"here\r\n")
    assert [reader.next_line() for _ in range(10)] == [
        *(b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"last line here"),
        None,
    ]


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="max_length"):
        LineReader(-1)
    with pytest.raises(ValueError, match="max_bytes"):
        LineReader(1).read_raw(-1)
    with pytest.raises(ValueError, match="count"):
        LineReader(1).read_exactly(-1)


class CountingReader(LineReader):
    """Counts the bytes that are copied to join chunks, and those looked at for an ending."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.copied = 0
        self.searched = 0

    def _replace(self, data: bytes) -> None:
        self.copied += len(data)
        super()._replace(data)

    def _compact(self, data: bytearray) -> None:
        self.copied += len(data)
        super()._compact(data)

    def next_line(self) -> bytes | None:
        unjudged = len(self._data) - self._scan
        line = super().next_line()
        self.searched += unjudged if line is None else len(line) + 2
        return line


@pytest.mark.parametrize("size", [1, 2, 7, 1_000, 30_000])
def test_the_cost_is_linear_however_the_stream_is_cut(size: int) -> None:
    stream = b"x" * 40_000 + b"\r\n" + b"short\r\n" * 3_000 + b"y" * 30_000 + b"\r\n"
    reader = CountingReader(40_000)
    lines = 0
    for start in range(0, len(stream), size):
        reader.receive_data(stream[start : start + size])
        while reader.next_line() is not None:
            lines += 1
    assert lines == 3_002
    assert reader.copied <= 3 * len(stream)
    # An ending found costs the line's length, one that is not found the new bytes and one more for a CR.
    assert reader.searched <= 4 * len(stream)


def test_a_reader_that_is_not_emptied_copies_little() -> None:
    reader = CountingReader(100)
    total = 20_000
    for _ in range(total):
        reader.receive_data(b"a\r\n")
        reader.receive_data(b"b\r\n")
        assert reader.next_line() is not None
    assert len(reader) == 3 * total
    assert reader.copied <= 4 * 6 * total


def test_what_was_taken_is_not_kept_for_ever() -> None:
    reader = CountingReader(100)
    for _ in range(1000):
        reader.receive_data(b"0123456\r\n")
    for _ in range(900):
        assert reader.next_line() == b"0123456"
    reader.receive_data(b"last\r\n")
    assert len(reader._data) == len(reader) == 906
    assert [reader.next_line() for _ in range(101)][-1] == b"last"


def test_encode_line() -> None:
    assert encode_line(b"250 ok") == b"250 ok\r\n"
    for bad in (b"a\r\nRCPT", b"a\n", b"\r"):
        with pytest.raises(LocalProtocolError):
            encode_line(bad)
