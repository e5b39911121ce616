"""In which order commands make sense (RFC 959 6).

```
                 USER            PASS, if it is right              RNFR
    GREETED -------------> NAMED ----------------------> READY ----------> RENAMING
        ^                    |                             |  ^ anything      |
        |   PASS, if wrong   |                             |  '---------------+
        +--------------------+                        REST |
        |                                                  v
        '--- USER, REIN, AUTH from every state         RESTARTING --> READY, by what is no preparation
```

What stands between RNFR and RNTO makes an end of the renaming, and what stands between REST and a transfer
one of the restart, but for what clients do to prepare the transfer.
"""

from __future__ import annotations

import enum

__all__ = ["State", "missing", "state_after"]


class State(enum.Enum):
    """Of a session."""

    GREETED = "nobody is logged in"
    NAMED = "a user is named"
    READY = "somebody is logged in"
    RENAMING = "a file to rename is named"
    RESTARTING = "a place to restart from is named"


# What a command must follow. All that is not here can follow anything.
_FOLLOWS = {"PASS": (State.NAMED, "Give USER first."), "RNTO": (State.RENAMING, "Give RNFR first.")}
# RFC 3659 5 has REST right before the transfer; clients open the data connection in between, or look at the
# file.
_KEEPS_RESTART = frozenset(
    [
        "ALLO",
        "EPRT",
        "EPSV",
        "FEAT",
        "MDTM",
        "MLST",
        "MODE",
        "NOOP",
        "PASV",
        "PBSZ",
        "PORT",
        "PROT",
        "RETR",
        "SIZE",
        "STAT",
        "STOR",
        "STRU",
        "TYPE",
    ]
)


def missing(state: State, verb: str) -> str | None:
    """Return what must come before the command, for the reply 503; None if nothing must."""
    needed = _FOLLOWS.get(verb)
    return None if needed is None or needed[0] is state else needed[1]


def state_after(state: State, verb: str) -> State:
    """Return the state in which the command is done. What it achieves itself is not in it."""
    if state is State.RENAMING or (state is State.RESTARTING and verb not in _KEEPS_RESTART):
        return State.READY
    return state
