"""`mktap`: make the `.tap` file that `twistd` runs, or add a server to one."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import sys
import typing

from portable.commands import privileges
from portable.commands.asking import with_password
from portable.commands.usage import (
    DONE,
    FAILED,
    CommandError,
    Parser,
    UsageError,
    run_command,
    version_text,
)
from portable.errors import ConfigurationError
from portable.kinds import find_kind, find_kinds
from portable.options import format_duration, format_size
from portable.passwords import normal_account
from portable.tap import MAX_SIZE, Tap, format_tap, load_tap, make_entry, save_tap

if typing.TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from portable.options import Kind, Option
    from portable.tap import TapService

__all__ = ["main"]

USAGE = (
    "mktap [--append FILE.tap] [--output FILE.tap] [--uid U] [--gid G] KIND [options]\n       mktap --list\n"
    "       mktap KIND --help\n       mktap --hash-password NAME[:PASSWORD]"
)
# General options that take a value, so that the word after them is not the kind.
_WITH_VALUE = ("-a", "--append", "-o", "--output", "-u", "--uid", "-g", "--gid", "--hash-password")

_METAVARS = {
    "int": "N",
    "float": "X",
    "path": "PATH",
    "port": "PORT",
    "size": "SIZE",
    "duration": "TIME",
    "endpoint": "ENDPOINT",
    "client-endpoint": "ENDPOINT",
    "network": "NETWORK",
    "interface": "IP",
    "account": "NAME[:PASSWORD]",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `mktap` and return its exit status."""
    return run_command("mktap", _run, argv)


def _run(argv: Sequence[str]) -> int:
    head, kind_name, tail = _split(argv)
    general = _general_parser()
    if kind_name is not None and any(word in {"-h", "--help"} for word in head):
        # As people typed it once: mktap --help web.
        head = [word for word in head if word not in {"-h", "--help"}]
        tail = ["--help"]
    chosen = general.parse_args(head)
    if chosen.list:
        return _list()
    if chosen.hash_password is not None:
        return _hash_password(chosen.hash_password)
    if kind_name is None:
        raise UsageError("which kind of server? See mktap --list, and mktap --help")
    return _make(chosen, kind_name, tail)


def _split(argv: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """Cut the arguments at the kind's name: what goes before it, the name, what follows."""
    at = 0
    while at < len(argv):
        word = argv[at]
        if word in _WITH_VALUE:
            at += 1
        elif not word.startswith("-"):
            return list(argv[:at]), word, list(argv[at + 1 :])
        at += 1
    return list(argv), None, []


def _general_parser() -> Parser:
    parser = Parser(
        "mktap",
        "Make KIND.tap in this folder: a file that says which server twistd shall run, with which options.",
        USAGE,
        "mktap KIND --help tells a kind's own options. Exit status: 0 done, 1 failed, 2 wrong usage.",
    )
    parser.add_argument(
        "-a", "--append", metavar="FILE.tap", help="add the server to this file: one process, many servers"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE.tap", help="write here (default: KIND.tap, or the file of --append)"
    )
    parser.add_argument(
        "-u",
        "--uid",
        metavar="U",
        help="user, name or number, to run as once the ports are bound (default: no change)",
    )
    parser.add_argument("-g", "--gid", metavar="G", help="group likewise (default: the main group of --uid)")
    parser.add_argument("--list", action="store_true", help="list the kinds of servers")
    parser.add_argument(
        "--hash-password",
        metavar="NAME[:PASSWORD]",
        help="print a line for a file of accounts; asks for the password if it is not given",
    )
    _add_common(parser)
    return parser


def _add_common(parser: Parser) -> None:
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")
    parser.add_argument("--version", action="version", version=version_text("mktap"))


def _list() -> int:
    found = find_kinds()
    width = max([len(name) for name in found.kinds], default=0)
    for name, kind in found.kinds.items():
        print(f"{name:<{width}}  {kind.summary}")
    for reason in found.broken.values():
        print(f"mktap: {reason}", file=sys.stderr)
    return FAILED if found.broken else DONE


def _hash_password(text: str) -> int:
    try:
        print(normal_account(with_password(text)))
    except ConfigurationError as error:
        raise UsageError(str(error)) from error
    return DONE


def _make(chosen: Namespace, kind_name: str, tail: list[str]) -> int:
    try:
        kind = find_kind(kind_name)
    except ConfigurationError as error:
        raise UsageError(str(error)) from error
    given = _parse_options(kind, tail)
    try:
        entry = make_entry(kind, given)
        # Made and thrown away: what only the kind knows about its options is found out now, not at the start.
        entry.make()
    except ConfigurationError as error:
        raise UsageError(_as_flag(str(error))) from error
    try:
        entry.verify()
    except ConfigurationError as error:
        raise CommandError(_as_flag(str(error))) from error
    if chosen.append:
        with _locked_folder(chosen.append):
            _save(chosen, load_tap(chosen.append), entry)
    else:
        _save(chosen, Tap(), entry)
    return DONE


@contextlib.contextmanager
def _locked_folder(path: str) -> Iterator[None]:
    """Keep others who append out of the folder of `path` between reading the file and replacing it.

    The file itself is no place for a lock: it is another one afterwards.
    """
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _save(chosen: Namespace, tap: Tap, entry: TapService) -> None:
    """Write `tap` with `entry` added."""
    uid = tap.uid if chosen.uid is None else _number_or_name(chosen.uid)
    gid = tap.gid if chosen.gid is None else _number_or_name(chosen.gid)
    privileges.find_identity(uid, gid)
    tap = Tap((*tap.services, entry), uid, gid)
    if len(format_tap(tap)) > MAX_SIZE:
        raise CommandError(f"the file would have more than {MAX_SIZE} bytes")
    save_tap(os.path.abspath(chosen.output or chosen.append or f"{entry.kind.name}.tap"), tap)


def _as_flag(message: str) -> str:
    """Say `--port` where the message says `options.port`: that is what the person wrote."""
    return f"--{message[len('options.') :]}" if message.startswith("options.") else message


def _number_or_name(text: str) -> str | int:
    return int(text) if text.isascii() and text.isdigit() else text


def _parse_options(kind: Kind, words: list[str]) -> dict[str, typing.Any]:
    parser = kind_parser(kind)
    chosen = vars(parser.parse_args(words))
    given: dict[str, typing.Any] = {}
    for option in kind.options:
        text = chosen[option.name]
        if text is None:
            continue
        try:
            if option.type == "bool":
                given[option.name] = text
            elif option.repeatable:
                given[option.name] = [_parse_one(option, one) for one in text]
            else:
                given[option.name] = _parse_one(option, text)
        except ConfigurationError as error:
            raise UsageError(str(error)) from error
    return given


def _parse_one(option: Option, text: str) -> typing.Any:
    return option.parse(with_password(text) if option.type == "account" else text)


def kind_parser(kind: Kind) -> Parser:
    """Return the parser of `mktap KIND`'s own options, with their `--help`."""
    parser = Parser(
        f"mktap {kind.name}",
        kind.summary,
        f"mktap [general options] {kind.name} [options]",
        "Sizes: 4096, 64k, 10M, 1G. Times: 500ms, 10 (seconds), 5m, 2h, 1d. See also mktap --help.",
    )
    for option in kind.options:
        flags = [f"-{option.short}"] if option.short else []
        flags.append(f"--{option.name}")
        text = _help_text(option)
        if option.type == "bool":
            parser.add_argument(
                *flags, dest=option.name, action=argparse.BooleanOptionalAction, default=None, help=text
            )
        else:
            metavar = option.metavar or "|".join(option.choices if option.type == "choice" else ())
            parser.add_argument(
                *flags,
                dest=option.name,
                action="append" if option.repeatable else "store",
                metavar=metavar or _METAVARS.get(option.type, "TEXT"),
                help=text,
            )
    _add_common(parser)
    return parser


def _help_text(option: Option) -> str:
    notes = []
    if option.required:
        notes.append("required")
    if option.repeatable:
        notes.append("may be repeated")
    unit = option.unit or {"size": "bytes", "duration": "seconds"}.get(option.type, "")
    if unit:
        notes.append(f"in {unit}")
    low, high = option.limits()
    limits = [_number(option, limit) for limit in (low, high) if limit is not None]
    if option.type != "port" and len(limits) == 2:
        notes.append(f"from {limits[0]} to {limits[1]}")
    elif low:
        notes.append(f"at least {limits[0]}")
    elif high is not None and option.type != "port":
        notes.append(f"at most {limits[-1]}")
    if option.default not in (None, (), ""):
        unless = f" unless --{option.unless} is given" if option.unless else ""
        notes.append(f"default: {option.format(option.default)}{unless}")
    text = f"{option.help} ({'; '.join(notes)})" if notes else option.help
    return text.replace("%", "%%")


def _number(option: Option, limit: float) -> str:
    if option.type == "size":
        return format_size(int(limit))
    return format_duration(limit) if option.type == "duration" else f"{limit:.12g}"


if __name__ == "__main__":
    sys.exit(main())
