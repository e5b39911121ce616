"""Every command: who does it, what it takes, and when it may come.

HELP is made of this table, and whether a command may be given in the state of the session is decided by it.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass

from protocols.ftp.server import access, fileops, information, parameters, transferring
from protocols.ftp.server.session import Refusal

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from protocols.ftp.server.session import Session

    # Answers a command; what it returns is waited for. Raises Refusal or FileError.
    Handler: typing.TypeAlias = "Callable[[Session, str], Coroutine[typing.Any, typing.Any, None] | None]"

__all__ = ["VERBS", "Verb", "find_verb"]


@dataclass(frozen=True, slots=True)
class Verb:
    """One command.

    Attributes:
        name: in upper case.
        handle: answers it.
        syntax: the argument as HELP shows it: "<must>", "[<may>]" or "".
        permission: the letter that it takes; "" for none.
        before_login: may be given before.
        at_once: may be given, and is answered, while a transfer is under way; others wait for its end.
    """

    name: str
    handle: Handler
    syntax: str = ""
    permission: str = ""
    before_login: bool = False
    at_once: bool = False

    def check_argument(self, argument: str | None) -> None:
        """Raise a Refusal if there is an argument where none may be, or none where one must be."""
        if self.syntax.startswith("<") and not argument:
            raise Refusal(501, f"It is {self.name} {self.syntax}.")
        if not self.syntax and argument:
            raise Refusal(501, f"{self.name} takes no argument.")


def handle_HELP(session: Session, argument: str) -> None:
    """Tell the commands, or the form of one."""
    if argument:
        verb = find_verb(argument.upper())
        if verb is None:
            raise Refusal(502, "There is no such command.")
        session.reply(214, f"{verb.name} {verb.syntax}".rstrip())
        return
    names = sorted(VERBS)
    lines = [" " + " ".join(names[start : start + 10]) for start in range(0, len(names), 10)]
    session.reply_lines(214, "Commands:", [line.encode() for line in lines], "End.")


_PATH = "<path>"
_VERBS = (
    Verb("ABOR", transferring.handle_ABOR, at_once=True),
    Verb("ACCT", access.handle_ACCT, "<account>", before_login=True),
    Verb("ALLO", parameters.handle_ALLO, "<bytes>"),
    Verb("APPE", transferring.handle_APPE, _PATH, "a"),
    Verb("AUTH", access.handle_AUTH, "<mechanism>", before_login=True),
    Verb("CCC", access.handle_CCC, before_login=True),
    Verb("CDUP", fileops.handle_CDUP, "", "e"),
    Verb("CWD", fileops.handle_CWD, _PATH, "e"),
    Verb("DELE", fileops.handle_DELE, _PATH, "d"),
    Verb("EPRT", parameters.handle_EPRT, "<|protocol|address|port|>"),
    Verb("EPSV", parameters.handle_EPSV, "[<protocol>]"),
    Verb("FEAT", information.handle_FEAT, before_login=True),
    Verb("HELP", handle_HELP, "[<command>]", before_login=True),
    Verb("HOST", access.handle_HOST, "<name>", before_login=True),
    Verb("LIST", transferring.handle_LIST, "[<path>]", "l"),
    Verb("MDTM", fileops.handle_MDTM, _PATH, "l"),
    Verb("MFMT", fileops.handle_MFMT, "<time> <path>", "T"),
    Verb("MKD", fileops.handle_MKD, _PATH, "m"),
    Verb("MLSD", transferring.handle_MLSD, "[<path>]", "l"),
    Verb("MLST", fileops.handle_MLST, "[<path>]", "l"),
    Verb("MODE", parameters.handle_MODE, "<mode>"),
    Verb("NLST", transferring.handle_NLST, "[<path>]", "l"),
    Verb("NOOP", information.handle_NOOP, before_login=True),
    Verb("OPTS", information.handle_OPTS, "<feature> [<options>]", before_login=True),
    Verb("PASS", access.handle_PASS, "[<password>]", before_login=True),
    Verb("PASV", parameters.handle_PASV),
    Verb("PBSZ", access.handle_PBSZ, "<bytes>", before_login=True),
    Verb("PORT", parameters.handle_PORT, "<h1,h2,h3,h4,p1,p2>"),
    Verb("PROT", access.handle_PROT, "<level>", before_login=True),
    Verb("PWD", fileops.handle_PWD),
    Verb("QUIT", information.handle_QUIT, before_login=True, at_once=True),
    Verb("REIN", access.handle_REIN, before_login=True),
    Verb("REST", parameters.handle_REST, "<offset>"),
    Verb("RETR", transferring.handle_RETR, _PATH, "r"),
    Verb("RMD", fileops.handle_RMD, _PATH, "d"),
    Verb("RNFR", fileops.handle_RNFR, _PATH, "f"),
    Verb("RNTO", fileops.handle_RNTO, _PATH, "f"),
    Verb("SITE", information.handle_SITE, "<command>"),
    Verb("SIZE", fileops.handle_SIZE, _PATH, "l"),
    Verb("STAT", information.handle_STAT, "[<path>]", at_once=True),
    Verb("STOR", transferring.handle_STOR, _PATH, "w"),
    Verb("STOU", transferring.handle_STOU, "[<path>]", "w"),
    Verb("STRU", parameters.handle_STRU, "<structure>"),
    Verb("SYST", information.handle_SYST, before_login=True),
    Verb("TYPE", parameters.handle_TYPE, "<type>"),
    Verb("USER", access.handle_USER, "<name>", before_login=True),
)
VERBS = {verb.name: verb for verb in _VERBS}
# RFC 1123 4.1.3.1: names from before RFC 959, which clients still use.
_OLD_NAMES = {"XCUP": "CDUP", "XCWD": "CWD", "XMKD": "MKD", "XPWD": "PWD", "XRMD": "RMD"}


def find_verb(name: str) -> Verb | None:
    """Return what the word means, in upper case; None if it is no command."""
    return VERBS.get(_OLD_NAMES.get(name, name))
