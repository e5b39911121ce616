"""Which options are in effect: the Q method (RFC 1143), with which no negotiation goes on for ever.

Each option is two switches, one for what we do (they say DO and DONT, we WILL and WONT) and one for what the
peer does (they say WILL and WONT, we DO and DONT). Both are the same machine, with "yes" for WILL or DO and
"no" for WONT or DONT. From RFC 1143 7, with the queue bit drawn as states of its own:

    state                 yes came                    no came                ask for it       ask against it
    NO                    agreed: YES, say yes        -                      WANTYES,         -
                          refused: say no                                    say yes
    YES                   -                           NO, say no             -                WANTNO, say no
    WANTNO                NO (a fault of the peer)    NO                     WANTNO_OPPOSITE  -
    WANTNO_OPPOSITE       YES (likewise)              WANTYES, say yes       -                WANTNO
    WANTYES               YES                         NO                     -                WANTYES_OPPOSITE
    WANTYES_OPPOSITE      WANTNO, say no              NO                     WANTYES          -

A dash changes nothing and says nothing. An option is in effect in the state YES alone.
"""

from __future__ import annotations

import enum
import typing

from portable.errors import RemoteProtocolError
from protocols.telnet.codes import DO, DONT, WILL, WONT

__all__ = ["MAX_ANSWERS", "Change", "Input", "Negotiator", "State", "step"]

# Answers to what the peer asks unasked, for each option and side of a connection. People who toggle an option
# are done sooner; a peer that asks again whenever it is refused, or toggles in a circle, would never be.
MAX_ANSWERS = 32


class State(enum.Enum):
    """Of one switch."""

    NO = "no"
    YES = "yes"
    WANTNO = "wantno"
    WANTNO_OPPOSITE = "wantno, opposite"
    WANTYES = "wantyes"
    WANTYES_OPPOSITE = "wantyes, opposite"


class Input(enum.Enum):
    """What can happen to a switch."""

    YES_AGREED = "the peer says yes, and we would agree"
    YES_REFUSED = "the peer says yes, and we would not"
    NO = "the peer says no"
    ENABLE = "we ask for it"
    DISABLE = "we ask against it"


_NO, _YES = State.NO, State.YES
_WANTNO, _WANTNO_OPPOSITE = State.WANTNO, State.WANTNO_OPPOSITE
_WANTYES, _WANTYES_OPPOSITE = State.WANTYES, State.WANTYES_OPPOSITE

# The new state, and what to say: True for yes, False for no. What is not here changes nothing.
_TABLE: dict[tuple[State, Input], tuple[State, bool | None]] = {
    (_NO, Input.YES_AGREED): (_YES, True),
    (_NO, Input.YES_REFUSED): (_NO, False),
    (_NO, Input.ENABLE): (_WANTYES, True),
    (_YES, Input.NO): (_NO, False),
    (_YES, Input.DISABLE): (_WANTNO, False),
    (_WANTNO, Input.YES_AGREED): (_NO, None),
    (_WANTNO, Input.YES_REFUSED): (_NO, None),
    (_WANTNO, Input.NO): (_NO, None),
    (_WANTNO, Input.ENABLE): (_WANTNO_OPPOSITE, None),
    (_WANTNO_OPPOSITE, Input.YES_AGREED): (_YES, None),
    (_WANTNO_OPPOSITE, Input.YES_REFUSED): (_YES, None),
    (_WANTNO_OPPOSITE, Input.NO): (_WANTYES, True),
    (_WANTNO_OPPOSITE, Input.DISABLE): (_WANTNO, None),
    (_WANTYES, Input.YES_AGREED): (_YES, None),
    (_WANTYES, Input.YES_REFUSED): (_YES, None),
    (_WANTYES, Input.NO): (_NO, None),
    (_WANTYES, Input.DISABLE): (_WANTYES_OPPOSITE, None),
    (_WANTYES_OPPOSITE, Input.YES_AGREED): (_WANTNO, False),
    (_WANTYES_OPPOSITE, Input.YES_REFUSED): (_WANTNO, False),
    (_WANTYES_OPPOSITE, Input.NO): (_NO, None),
    (_WANTYES_OPPOSITE, Input.ENABLE): (_WANTYES, None),
}


def step(state: State, happened: Input) -> tuple[State, bool | None]:
    """Return the new state of a switch, and what to say to the peer: yes, no, or None for nothing."""
    return _TABLE.get((state, happened), (state, None))


class Change(typing.NamedTuple):
    """What came of a negotiation.

    Attributes:
        verb: to be sent to the peer with the option; None for nothing.
        local: which switch: what we do, or what the peer does.
        enabled: True if the option has come into effect, False if it has gone out of it, None for neither.
    """

    verb: int | None
    local: bool
    enabled: bool | None


class Negotiator:
    """The switches of one connection.

    Args:
        local: options that we do when the peer asks for it.
        remote: options that the peer may do when it offers.
    """

    def __init__(self, local: typing.Iterable[int] = (), remote: typing.Iterable[int] = ()) -> None:
        self._agreed = {True: frozenset(local), False: frozenset(remote)}
        self._states: dict[tuple[bool, int], State] = {}
        self._answers: dict[tuple[bool, int], int] = {}

    def state(self, option: int, *, local: bool) -> State:
        """Return the state of a switch."""
        return self._states.get((local, option), State.NO)

    def is_enabled(self, option: int, *, local: bool) -> bool:
        """Return whether the peer has agreed, so that the option is in effect."""
        return self.state(option, local=local) is State.YES

    def receive(self, verb: int, option: int) -> Change:
        """Take what the peer has said: WILL, WONT, DO or DONT.

        Raises:
            RemoteProtocolError: this would be answer MAX_ANSWERS + 1 for this option and side.
        """
        local = verb in {DO, DONT}
        before = self.state(option, local=local)
        if verb in {WONT, DONT}:
            happened = Input.NO
        elif option in self._agreed[local]:
            happened = Input.YES_AGREED
        else:
            happened = Input.YES_REFUSED
        change = self._apply(option, local, happened)
        if change.verb is not None and before in {State.NO, State.YES}:
            answers = self._answers.get((local, option), 0) + 1
            if answers > MAX_ANSWERS:
                raise RemoteProtocolError(f"option {option} was negotiated more than {MAX_ANSWERS} times")
            self._answers[local, option] = answers
        return change

    def ask(self, option: int, enabled: bool, *, local: bool) -> Change:
        """Ask the peer to have the option in effect, or not. Does nothing if that is so, or is being asked."""
        return self._apply(option, local, Input.ENABLE if enabled else Input.DISABLE)

    def _apply(self, option: int, local: bool, happened: Input) -> Change:
        before = self.state(option, local=local)
        after, said = step(before, happened)
        if after is State.NO:
            self._states.pop((local, option), None)
        else:
            self._states[local, option] = after
        verb = None if said is None else _verb(local, said)
        if (before is State.YES) == (after is State.YES):
            return Change(verb, local, None)
        return Change(verb, local, after is State.YES)


def _verb(local: bool, said: bool) -> int:
    if local:
        return WILL if said else WONT
    return DO if said else DONT
