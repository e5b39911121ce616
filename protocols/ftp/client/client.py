"""A client of FTP servers.

```python
endpoint = TCPClientEndpoint("ftp.example.org", 21)
client = await connect_ftp(reactor, endpoint, tls=client_options("ftp.example.org"))
await client.login("joe", password)
for file in await client.list("incoming"):
    ...
await client.store("incoming/hello.txt", b"hello")
await client.quit()
```

Every operation is a coroutine, to be awaited in another or run by `ensure_deferred`, which makes it
cancellable and gives it a time-out. The control connection does one thing at a time: operations that are begun
while another is under way wait for their turn. One that the server refuses, or that is cancelled (by the
time-out of its Deferred, too), leaves the connection usable. After other failures `closed` tells.

Paths are `str`, encoded as the client was told to (UTF-8, RFC 2640), or `bytes` as the server has them. With
CR, LF or NUL inside they are refused with LocalProtocolError before anything is sent.
"""

from __future__ import annotations

import re
import time
import typing

from portable.errors import LocalProtocolError, RemoteProtocolError
from protocols.ftp.client.listing import Listing, RemoteFile, remote_file
from protocols.ftp.client.replies import Reply, expect, quoted_path
from protocols.ftp.client.walking import Walk
from protocols.ftp.facts import decode_entry, decode_fact_list, decode_time, encode_fact_list, encode_time

if typing.TYPE_CHECKING:
    from portable.reactor import Reactor
    from portable.tls import TLSOptions
    from protocols.ftp.client.control import ControlConnection
    from protocols.ftp.client.data import Consumer, FilePart, Producer
    from protocols.ftp.client.transfers import Transferred, Transfers

    Path = str | bytes
    T = typing.TypeVar("T")

__all__ = ["FTPClient"]

_DONE = range(200, 300)
# What anonymous users give for a password: by custom an address, by now any.
_GUEST = "guest@"
# Bytes of a `bytes` that are written at once: as much as transports buffer before they ask to pause.
_PIECE = 64 * 1024
# Size and time by which a folder can be mirrored, and the mode; servers may have others off by default.
_WANTED_FACTS = ("type", "size", "modify", "unix.mode")
_SIZE = re.compile("[0-9]{1,20}")
# RFC 1123 4.1.2.9 has "FILE: name" in the preliminary reply to STOU; some say it in the final one.
_STORED_AS = re.compile("FILE: ?(.+)|unique file name:? ?(.+?)\\.?$", re.IGNORECASE)


class FTPClient:
    """An open connection to a server. Made by `protocols.ftp.client.connect_ftp`.

    Any method may fail with CommandRefused (the server said no), with TimedOut, a TransportError or a
    RemoteProtocolError; only what else may happen is said with each.

    Attributes:
        reactor: runs it all.
        greeting: the server's first reply.
    """

    def __init__(
        self,
        reactor: Reactor,
        control: ControlConnection,
        transfers: Transfers,
        greeting: Reply,
        encoding: str,
    ) -> None:
        self.reactor = reactor
        self.greeting = greeting
        self._control = control
        self._transfers = transfers
        self._encoding = encoding
        self._features: dict[str, str] | None = None

    @property
    def closed(self) -> bool:
        """Whether the connection is of no more use."""
        return self._control.closed

    # The session.

    async def host(self, name: str) -> Reply:
        """Say which of the server's host names is meant, before `login` (RFC 7151)."""
        return await self._ask("HOST", name.encode("ascii", "strict"), (220,))

    async def start_tls(self, options: TLSOptions) -> None:
        """Protect the control connection, unless it is already, and all data connections (RFC 4217). Log in
        after it.

        If this fails in any way, the connection is closed, so that nobody goes on in clear by mistake.
        """

        async def steps() -> None:
            control = self._control
            if not control.secure:
                reply = await control.exchange("AUTH", b"TLS")
                expect("AUTH", reply, (234,))
                await control.start_tls(options)
            reply = await control.exchange("PBSZ", b"0")
            expect("PBSZ", reply, (200,))
            reply = await control.exchange("PROT", b"P")
            expect("PROT", reply, (200,))

        try:
            await self._in_turn(steps)
        except Exception:
            self._control.abort()
            raise
        self._transfers.tls = options
        # What was said in clear may have been said by anybody.
        self._features = None

    async def login(self, user: str = "anonymous", password: str = "", account: str = "") -> Reply:
        """Log in, and have the server use UTF-8 if it must be told to. A wrong password is a CommandRefused
        with the code 530.
        """

        async def steps() -> Reply:
            verb = "USER"
            reply = await self._control.exchange(verb, self._encode(user))
            if reply.code == 331:
                verb = "PASS"
                reply = await self._control.exchange(verb, self._encode(password or _GUEST))
            if reply.code == 332:
                verb = "ACCT"
                reply = await self._control.exchange(verb, self._encode(account))
            return expect(verb, reply, _DONE)

        reply = await self._in_turn(steps)
        self._features = None
        self._transfers.forget_type()
        features = await self.features()
        if "UTF8" in features and self._encoding.lower().replace("-", "") == "utf8":
            # Some servers speak UTF-8 only to clients that have asked; others refuse the question.
            await self.command("OPTS", "UTF8 ON", codes=range(200, 600))
        if "MLST" in features:
            await self._choose_facts(features["MLST"])
        return reply

    async def features(self) -> typing.Mapping[str, str]:
        """Return what the server can do beyond RFC 959 (FEAT, RFC 2389): parameters by the name in capitals.

        Empty if the server does not know FEAT. It is asked once, and again after `login` and `start_tls`.
        """
        if self._features is None:
            reply = await self._ask("FEAT", None, range(200, 600))
            self._features = _parse_features(reply) if reply.code == 211 else {}
        return self._features

    async def quit(self) -> None:
        """Say goodbye and close the connection."""
        try:
            await self._ask("QUIT", None, _DONE)
        finally:
            self._control.close()

    def close(self) -> None:
        """Drop the connection, and what is under way, at once."""
        self._transfers.abort()
        self._control.abort()

    async def abort(self) -> None:
        """Abort the transfer that is under way, if there is one: it fails with Cancelled. Returns when the
        control connection is free again.
        """
        self._transfers.abort()
        await self._control.take_turn()
        self._control.end_turn()

    # Folders.

    async def cwd(self, path: Path) -> None:
        """Change the working directory."""
        await self._ask("CWD", self._path(path), _DONE)

    async def cdup(self) -> None:
        """Change to the folder above."""
        await self._ask("CDUP", None, _DONE)

    async def pwd(self) -> str:
        """Return the path of the working directory."""
        reply = await self._ask("PWD", None, (257,))
        return self._quoted(reply)

    async def mkd(self, path: Path) -> str:
        """Make a folder and return its path, as the server says it."""
        reply = await self._ask("MKD", self._path(path), (257,))
        return self._quoted(reply)

    async def rmd(self, path: Path) -> None:
        """Remove an empty folder."""
        await self._ask("RMD", self._path(path), _DONE)

    # Files.

    async def delete(self, path: Path) -> None:
        """Remove a file."""
        await self._ask("DELE", self._path(path), _DONE)

    async def rename(self, source: Path, target: Path) -> None:
        """Rename a file or folder, or move it."""
        new_name = self._path(target)

        async def steps() -> None:
            reply = await self._control.exchange("RNFR", self._path(source))
            expect("RNFR", reply, (350,))
            reply = await self._control.exchange("RNTO", new_name)
            expect("RNTO", reply, _DONE)

        await self._in_turn(steps)

    async def size(self, path: Path) -> int:
        """Return how many bytes `retrieve` would give (RFC 3659 4)."""

        async def steps() -> Reply:
            # In type A it would be another number, and an expensive one.
            await self._transfers.set_type("I")
            reply = await self._control.exchange("SIZE", self._path(path))
            return expect("SIZE", reply, (213,))

        reply = await self._in_turn(steps)
        text = reply.text.strip()
        if not _SIZE.fullmatch(text):
            raise RemoteProtocolError("a reply to SIZE that is no number")
        return int(text)

    async def mdtm(self, path: Path) -> float:
        """Return when a file was changed last, in seconds since 1970 (RFC 3659 3)."""
        reply = await self._ask("MDTM", self._path(path), (213,))
        return decode_time(reply.text.strip())

    async def mfmt(self, path: Path, modified: float) -> None:
        """Set when a file was changed last, in seconds since 1970 (MFMT)."""
        await self._ask("MFMT", encode_time(modified).encode("ascii") + b" " + self._path(path), _DONE)

    async def chmod(self, path: Path, mode: int) -> None:
        """Set the permissions of a file on a Unix server (SITE CHMOD)."""
        await self._ask("SITE", f"CHMOD {mode:03o} ".encode("ascii") + self._path(path), _DONE)

    async def mlst(self, path: Path = "") -> RemoteFile:
        """Return what one file or folder is (RFC 3659 7). Its name may be a whole path."""
        reply = await self._ask("MLST", self._path(path) if path else None, (250,))
        if len(reply.lines) != 3 or reply.lines[1][:1] != b" ":
            raise RemoteProtocolError("a reply to MLST without an entry")
        return remote_file(decode_entry(reply.lines[1][1:]), self._encoding)

    # Listings.

    async def list(self, path: Path = "") -> typing.Sequence[RemoteFile]:
        """Return what is in a folder: by MLSD, or by LIST where the server does not know that.

        The folder itself and those above it are not in it. Whether LIST tells an empty folder from one that is
        not there depends on the server.
        """
        features = await self.features()
        machine = "MLST" in features
        listing = Listing(self._encoding, machine=machine, now=time.time())
        argument = self._path(path) if path else None
        if machine:
            await self._transfers.run("MLSD", argument, lambda data: data.receive(listing.receive_data))
        else:
            argument = _no_option(argument)
            await self._transfers.run("LIST", argument, lambda data: data.receive(listing.receive_data))
        listing.finish()
        return listing.files

    async def names(self, path: Path = "") -> typing.Sequence[str]:
        """Return the names in a folder (NLST); some servers give them with the path before them."""
        listing = Listing(self._encoding, machine=None, now=0.0)
        argument = _no_option(self._path(path) if path else None)
        await self._transfers.run("NLST", argument, lambda data: data.receive(listing.receive_data))
        listing.finish()
        return [file.name for file in listing.files]

    def walk(self, path: str = "") -> Walk:
        """Return what gives the folder `path`, and all those beneath it, one after the other."""
        return Walk(self.list, path)

    # Transfers.

    async def retrieve(self, path: Path, consumer: Consumer, *, offset: int = 0, text: bool = False) -> int:
        """Pass the content of a file to `consumer` and return its length in bytes, less `offset`.

        Args:
            path: of the file.
            consumer: takes each piece; if it returns a Deferred, the server is held off until that fires.
            offset: where to begin, in bytes.
            text: have the server convert it to lines that end with CR LF (type A).
        """
        done = await self._transfers.run(
            "RETR", self._path(path), lambda data: data.receive(consumer), offset=offset, text=text
        )
        return done.size

    async def read(self, path: Path, max_size: int) -> bytes:
        """Return the content of a file.

        Raises:
            RemoteProtocolError: it has more than `max_size` bytes.
        """
        content = bytearray()

        def take(piece: bytes) -> None:
            if len(content) + len(piece) > max_size:
                raise RemoteProtocolError(f"a file of more than {max_size} bytes")
            content.extend(piece)

        await self.retrieve(path, take)
        return bytes(content)

    async def store(
        self, path: Path, source: bytes | Producer | FilePart, *, offset: int = 0, text: bool = False
    ) -> int:
        """Write `source` to a file, which is made or replaced, and return how many bytes were sent.

        Args:
            path: of the file.
            source: bytes; or what gives the next piece each time it is called, as bytes or a Deferred of them,
                and b"" at the end; or a part of an open file. offset: keep so many bytes of the file, and
                write after them (REST). text: have the server convert it from lines that end with CR LF (type
                A).
        """
        done = await self._send("STOR", self._path(path), source, offset, text)
        return done.size

    async def append(self, path: Path, source: bytes | Producer | FilePart, *, text: bool = False) -> int:
        """Write `source` after the end of a file. As `store`."""
        done = await self._send("APPE", self._path(path), source, 0, text)
        return done.size

    async def store_unique(self, source: bytes | Producer | FilePart, path: Path = "") -> str:
        """Write `source` to a file with a new name, and return that; "" if the server does not say it.

        Args:
            source: as for `store`.
            path: what the name should be like.
        """
        done = await self._send("STOU", self._path(path) if path else None, source, 0, False)
        for reply in (done.first, done.final):
            match = _STORED_AS.search(b"\n".join(reply.lines).decode(self._encoding, "replace"))
            if match is not None:
                return str(match.group(1) or match.group(2)).strip()
        return ""

    # The rest.

    async def stat(self, path: Path = "") -> Reply:
        """Return what the server says of itself, or of a file or folder."""
        return await self._ask("STAT", _no_option(self._path(path) if path else None), _DONE)

    async def help(self, topic: str = "") -> Reply:
        """Return what the server says of its commands, or of one."""
        return await self.command("HELP", topic, codes=_DONE)

    async def site(self, words: str) -> Reply:
        """Have the server do what only servers of its kind can."""
        return await self.command("SITE", words, codes=_DONE)

    async def noop(self) -> None:
        """Do nothing, but keep the connection from being idle."""
        await self._ask("NOOP", None, _DONE)

    async def command(self, verb: str, argument: str = "", *, codes: typing.Container[int] = _DONE) -> Reply:
        """Send any command that needs no data connection, and return the reply.

        Raises:
            CommandRefused: the reply's code is not in `codes`.
        """
        return await self._ask(verb, self._encode(argument) if argument else None, codes)

    # How it is done.

    async def _ask(self, verb: str, argument: bytes | None, codes: typing.Container[int]) -> Reply:
        async def steps() -> Reply:
            reply = await self._control.exchange(verb, argument)
            return expect(verb, reply, codes)

        return await self._in_turn(steps)

    async def _in_turn(self, steps: typing.Callable[[], typing.Coroutine[typing.Any, typing.Any, T]]) -> T:
        await self._control.take_turn()
        try:
            return await steps()
        finally:
            self._control.end_turn()

    async def _send(
        self, verb: str, argument: bytes | None, source: bytes | Producer | FilePart, offset: int, text: bool
    ) -> Transferred:
        producer = _pieces(source) if isinstance(source, bytes) else source
        return await self._transfers.run(
            verb, argument, lambda data: data.send(producer), offset=offset, text=text
        )

    async def _choose_facts(self, offered: str) -> None:
        """Switch on what we want to know of files, if it is off."""
        facts = decode_fact_list(offered)
        wanted = [name for name, on in facts.items() if on or name in _WANTED_FACTS]
        if not all(facts[name] for name in wanted):
            await self.command("OPTS", f"MLST {encode_fact_list(wanted)}", codes=range(200, 600))

    def _path(self, path: Path) -> bytes:
        encoded = path if isinstance(path, bytes) else self._encode(path)
        if not encoded:
            raise LocalProtocolError("a path must not be empty")
        return encoded

    def _encode(self, text: str) -> bytes:
        try:
            return text.encode(self._encoding)
        except UnicodeEncodeError as exc:
            raise LocalProtocolError(f"{text!r} cannot be written in {self._encoding}") from exc

    def _quoted(self, reply: Reply) -> str:
        path = quoted_path(reply.lines[0])
        if path is None:
            raise RemoteProtocolError("a reply 257 without a path")
        return path.decode(self._encoding, "replace")


def _parse_features(reply: Reply) -> dict[str, str]:
    features = {}
    for line in reply.lines[1:-1]:
        name, _, parameters = line.decode("utf-8", "replace").strip().partition(" ")
        if name:
            features[name.upper()] = parameters
    return features


def _no_option(argument: bytes | None) -> bytes | None:
    """Keep a name from being taken for options, as servers that run `ls` do."""
    return b"./" + argument if argument is not None and argument[:1] == b"-" else argument


def _pieces(data: bytes) -> Producer:
    at = 0

    def next_piece() -> bytes:
        nonlocal at
        piece = data[at : at + _PIECE]
        at += len(piece)
        return piece

    return next_piece
