"""The Q method: RFC 1143's table, cell by cell, and what it is for: no negotiation goes on for ever."""

from __future__ import annotations

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import RemoteProtocolError
from protocols.telnet.codes import DO, DONT, ECHO, NAWS, SGA, WILL, WONT
from protocols.telnet.negotiation import MAX_ANSWERS, Change, Input, Negotiator, State, step

# RFC 1143 7 in its own words: (us, usq) before; what is received or asked for; (us, usq) after; what is sent.
QUEUE = {
    ("NO", "EMPTY"): State.NO,
    ("YES", "EMPTY"): State.YES,
    ("WANTNO", "EMPTY"): State.WANTNO,
    ("WANTNO", "OPPOSITE"): State.WANTNO_OPPOSITE,
    ("WANTYES", "EMPTY"): State.WANTYES,
    ("WANTYES", "OPPOSITE"): State.WANTYES_OPPOSITE,
}
RFC_1143 = """
DO agreed     NO EMPTY          YES EMPTY         WILL
DO agreed     YES EMPTY         YES EMPTY         -
DO agreed     WANTNO EMPTY      NO EMPTY          -
DO agreed     WANTNO OPPOSITE   YES EMPTY         -
DO agreed     WANTYES EMPTY     YES EMPTY         -
DO agreed     WANTYES OPPOSITE  WANTNO EMPTY      WONT
DO refused    NO EMPTY          NO EMPTY          WONT
DO refused    YES EMPTY         YES EMPTY         -
DO refused    WANTNO EMPTY      NO EMPTY          -
DO refused    WANTNO OPPOSITE   YES EMPTY         -
DO refused    WANTYES EMPTY     YES EMPTY         -
DO refused    WANTYES OPPOSITE  WANTNO EMPTY      WONT
DONT          NO EMPTY          NO EMPTY          -
DONT          YES EMPTY         NO EMPTY          WONT
DONT          WANTNO EMPTY      NO EMPTY          -
DONT          WANTNO OPPOSITE   WANTYES EMPTY     WILL
DONT          WANTYES EMPTY     NO EMPTY          -
DONT          WANTYES OPPOSITE  NO EMPTY          -
enable        NO EMPTY          WANTYES EMPTY     WILL
enable        YES EMPTY         YES EMPTY         -
enable        WANTNO EMPTY      WANTNO OPPOSITE   -
enable        WANTNO OPPOSITE   WANTNO OPPOSITE   -
enable        WANTYES EMPTY     WANTYES EMPTY     -
enable        WANTYES OPPOSITE  WANTYES EMPTY     -
disable       NO EMPTY          NO EMPTY          -
disable       YES EMPTY         WANTNO EMPTY      WONT
disable       WANTNO EMPTY      WANTNO EMPTY      -
disable       WANTNO OPPOSITE   WANTNO EMPTY      -
disable       WANTYES EMPTY     WANTYES OPPOSITE  -
disable       WANTYES OPPOSITE  WANTYES OPPOSITE  -
"""
INPUTS = {
    "DO agreed": Input.YES_AGREED,
    "DO refused": Input.YES_REFUSED,
    "DONT": Input.NO,
    "enable": Input.ENABLE,
    "disable": Input.DISABLE,
}
SAID = {"WILL": True, "WONT": False, "-": None}
ROWS = [
    (line[:14].strip(), tuple(line[14:32].split()), tuple(line[32:50].split()), line[50:].strip())
    for line in RFC_1143.strip().splitlines()
]


@pytest.mark.parametrize(("happened", "before", "after", "said"), ROWS)
def test_the_table_is_that_of_the_rfc(
    happened: str, before: tuple[str, str], after: tuple[str, str], said: str
) -> None:
    assert step(QUEUE[before], INPUTS[happened]) == (QUEUE[after], SAID[said])


def test_the_rows_above_are_every_state_with_every_input() -> None:
    assert {(row[0], row[1]) for row in ROWS} == {(name, state) for name in INPUTS for state in QUEUE}


def test_what_we_agree_to_is_confirmed_once_and_the_rest_refused() -> None:
    options = Negotiator(local=[ECHO], remote=[NAWS])
    assert options.receive(DO, ECHO) == Change(WILL, True, True)
    assert options.receive(DO, ECHO) == Change(None, True, None)
    assert options.is_enabled(ECHO, local=True)
    assert not options.is_enabled(ECHO, local=False)
    assert options.receive(WILL, NAWS) == Change(DO, False, True)
    assert options.receive(WILL, ECHO) == Change(DONT, False, None)
    assert options.receive(DO, 200) == Change(WONT, True, None)
    assert options.receive(DONT, ECHO) == Change(WONT, True, False)
    assert options.receive(WONT, 200) == Change(None, False, None)


def test_asking_twice_asks_once() -> None:
    options = Negotiator()
    assert options.ask(SGA, True, local=True) == Change(WILL, True, None)
    assert options.ask(SGA, True, local=True) == Change(None, True, None)
    assert options.receive(DO, SGA) == Change(None, True, True)
    assert options.ask(SGA, True, local=True) == Change(None, True, None)


def test_a_change_of_mind_waits_for_the_answer() -> None:
    options = Negotiator()
    options.ask(SGA, True, local=False)
    assert options.ask(SGA, False, local=False).verb is None
    assert options.receive(WILL, SGA) == Change(DONT, False, None)
    assert options.receive(WONT, SGA) == Change(None, False, None)
    assert options.state(SGA, local=False) is State.NO


@given(st.data())
def test_two_that_change_their_minds_agree_in_the_end(data: st.DataObject) -> None:
    """Whatever both ask for while messages cross: talking ends, with the same state on both sides."""
    ends = [Negotiator(local=[1], remote=[1]), Negotiator(local=[1], remote=[1])]
    wires: list[collections.deque[int]] = [collections.deque(), collections.deque()]

    def move(end: int) -> None:
        if wires[end]:
            change = ends[end].receive(wires[end].popleft(), 1)
            if change.verb is not None:
                wires[1 - end].append(change.verb)

    for _ in range(data.draw(st.integers(0, 12))):
        end = data.draw(st.integers(0, 1))
        if data.draw(st.booleans()):
            move(end)
        else:
            change = ends[end].ask(1, data.draw(st.booleans()), local=data.draw(st.booleans()))
            if change.verb is not None:
                wires[1 - end].append(change.verb)
    for _ in range(100):
        move(0)
        move(1)
    assert not wires[0]
    assert not wires[1]
    for local in (True, False):
        assert ends[0].state(1, local=local) in {State.NO, State.YES}
        assert ends[0].state(1, local=local) is ends[1].state(1, local=not local)


def test_a_peer_that_asks_again_whenever_it_is_refused_comes_to_an_end() -> None:
    options = Negotiator()
    for _ in range(MAX_ANSWERS):
        assert options.receive(WILL, 200).verb == DONT
    with pytest.raises(RemoteProtocolError, match="option 200"):
        options.receive(WILL, 200)


def test_a_peer_that_toggles_in_a_circle_comes_to_an_end() -> None:
    options = Negotiator(local=[ECHO])
    for _ in range(MAX_ANSWERS // 2):
        options.receive(DO, ECHO)
        options.receive(DONT, ECHO)
    with pytest.raises(RemoteProtocolError, match="option 1 "):
        options.receive(DO, ECHO)


def test_our_own_questions_are_not_counted() -> None:
    options = Negotiator()
    for _ in range(3 * MAX_ANSWERS):
        options.ask(ECHO, True, local=True)
        options.receive(DO, ECHO)
        options.ask(ECHO, False, local=True)
        options.receive(DONT, ECHO)
