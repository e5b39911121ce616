"""Runs servers on runtimes, drives the clients, and compares what they got."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import os
import pathlib
import pkgutil
import re
import signal
import subprocess
import time
import typing

from ci.acceptance import scenarios
from ci.acceptance.compare import difference, render
from ci.acceptance.model import Client, Server, Workshop
from ci.acceptance.record import Failed, Transcript
from ci.acceptance.relay import DatagramRelay, StreamRelay
from ci.acceptance.runtimes import command, environment
from ci.acceptance.stage import Stage
from ci.acceptance.views import apply, log_lines

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ci.acceptance.record import View
    from ci.acceptance.runtimes import Runtime

__all__ = ["Result", "Session", "all_servers", "kinds_without_scenario"]

SECONDS = 30.0
_LISTENING = re.compile(r"listening: (\S+) (tcp|tls|udp) \S*:(\d+)$", re.MULTILINE)
_COMPLAINT = re.compile(r" (?:error|critical) .*|Traceback.*")


@dataclasses.dataclass
class Result:
    """One field of the matrix.

    Attributes:
        status: "ok", "differs" (from the first runtime that has an answer), "failed" or "missing".
        seconds: how long the client took.
        detail: a diff, or what failed.
    """

    server: str
    client: str
    runtime: str
    status: str
    seconds: float
    detail: list[str]


def all_servers() -> list[Server]:
    """Return what the modules in ci/acceptance/scenarios declare."""
    servers: list[Server] = []
    for module in sorted(pkgutil.iter_modules(scenarios.__path__), key=lambda module: module.name):
        servers += importlib.import_module(f"{scenarios.__name__}.{module.name}").SERVERS
    return servers


def kinds_without_scenario(servers: list[Server]) -> list[str]:
    """Return the kinds of `mktap --list` that no server here is of."""
    listed = _command("mktap", "--list").stdout
    kinds = [line.split()[0] for line in listed.splitlines() if line.strip()]
    return [kind for kind in kinds if kind not in {server.kind for server in servers}]


def _command(name: str, *words: str, folder: pathlib.Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*command(name), *words],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS * 2,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"{name} {' '.join(words)}: exit status {done.returncode}: {done.stderr.strip()}")
    return done


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return not pathlib.Path("/proc/self").exists()
    # One that has ended, and that nobody has waited for, does not run.
    return state.rpartition(")")[2].split()[0] != "Z"


class _Process:
    """A server that runs."""

    def __init__(self, server: Server, runtime: Runtime, tap: pathlib.Path, folder: pathlib.Path) -> None:
        self.folder = folder
        self.background = server.daemon and runtime.daemons
        words = runtime.start(tap, self.background)
        with open(folder / "output", "wb") as output:
            self._process = subprocess.Popen(
                words, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.pid = 0 if self.background else self._process.pid
        if self.background:
            try:
                self._wait_for_parent()
            except BaseException:
                self.kill()
                raise

    def _wait_for_parent(self) -> None:
        status = self._process.wait(SECONDS)
        if status != 0:
            raise Failed(f"exit status {status}: {self.output().strip()}")
        # Read now: the file goes before the process does.
        self.pid = int((self.folder / "twistd.pid").read_text(encoding="ascii"))

    def output(self) -> str:
        """Return what it wrote to its standard output and standard error."""
        return (self.folder / "output").read_text(encoding="utf-8", errors="replace")

    def log(self) -> str:
        """Return what it has logged."""
        try:
            return (self.folder / "twistd.log").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def ports(self, server: Server) -> dict[str, int]:
        """Wait until all ports are bound, and return them by name."""
        deadline = time.monotonic() + SECONDS
        while True:
            found = _LISTENING.findall(self.log())
            if len(found) >= len(server.ports):
                break
            if not self.background and self._process.poll() is not None:
                raise Failed(
                    f"ended with status {self._process.returncode}: {self.output().strip() or self.log()}"
                )
            if time.monotonic() > deadline:
                raise Failed(f"not listening in {SECONDS:g} seconds: {self.log()}{self.output()}")
            time.sleep(0.01)
        bound = [(name, protocol) for name, protocol, _ in found]
        wanted = [(port.logged, port.protocol) for port in server.ports]
        if bound != wanted:
            raise Failed(f"it listens on {bound}, not {wanted}")
        return {port.name: int(number) for port, (_, _, number) in zip(server.ports, found, strict=True)}

    def wait(self) -> int:
        """Wait for its end and return its exit status; a daemon's is not known, and 0."""
        if not self.background:
            try:
                return self._process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                raise Failed(f"still running {SECONDS:g} seconds after SIGTERM") from None
        deadline = time.monotonic() + SECONDS
        while _is_running(self.pid):
            if time.monotonic() > deadline:
                raise Failed(f"still running {SECONDS:g} seconds after SIGTERM")
            time.sleep(0.01)
        return 0

    def kill(self) -> None:
        """End it, whatever it does."""
        if self.background and self.pid and _is_running(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


def _plain_ending(stage: Stage) -> None:
    stage.terminate()


_STOP = Client("SIGTERM", _plain_ending)
_LOGS = "logs, exit status"


class Session:
    """Everything of one call of ci/accept.

    Args:
        folder: for files; transcripts and logs remain in it.
        runtimes: which of them; those that are missing are said to be so.
        fast: leave out the clients that take long.
        pause: called with a line for a person, before each step.
        report: called with each result.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        runtimes: tuple[Runtime, ...],
        *,
        fast: bool = False,
        pause: Callable[[str], None] = lambda _text: None,
        report: Callable[[Result], None] = lambda _result: None,
    ) -> None:
        self.folder = folder
        self.results: list[Result] = []
        self._runtimes = runtimes
        self._missing = {runtime.name: runtime.missing() for runtime in runtimes}
        self._fast = fast
        self._pause = pause
        self._report = report
        # By server and client: the first runtime that had an answer, and the answer.
        self._first: dict[tuple[str, str], tuple[str, Transcript]] = {}

    @property
    def missing(self) -> dict[str, str]:
        """Each runtime that cannot run here, with the reason."""
        return {name: reason for name, reason in self._missing.items() if reason}

    def run(self, server: Server) -> None:
        """Run one server on every runtime."""
        shop = Workshop(self.folder / server.name)
        shop.folder.mkdir(parents=True)
        try:
            with _relays(server) as relays:
                try:
                    tap, digest = self._make_tap(server, shop)
                except Failed as error:
                    self._add(Result(server.name, "mktap", "all", "failed", 0.0, [str(error)]))
                    return
                for runtime in self._runtimes:
                    if self._missing[runtime.name]:
                        self._add(Result(server.name, "*", runtime.name, "missing", 0.0, []))
                        continue
                    self._run_on(server, runtime, shop, tap, relays)
                    if hashlib.sha256(tap.read_bytes()).hexdigest() != digest:
                        self._add(
                            Result(server.name, "tap", runtime.name, "failed", 0.0, ["the .tap has changed"])
                        )
        finally:
            shop.close()

    def _make_tap(self, server: Server, shop: Workshop) -> tuple[pathlib.Path, str]:
        tap = shop.folder / f"{server.name}.tap"
        words: list[str] = ["--output", str(tap)]
        for each in server.prepare(shop):
            _command("mktap", *words, *each, folder=shop.folder)
            words = ["--append", str(tap)]
        return tap, hashlib.sha256(tap.read_bytes()).hexdigest()

    def _run_on(
        self,
        server: Server,
        runtime: Runtime,
        shop: Workshop,
        tap: pathlib.Path,
        relays: dict[str, StreamRelay | DatagramRelay],
    ) -> None:
        folder = shop.folder / runtime.name
        folder.mkdir()
        began = time.monotonic()
        process = None
        try:
            process = _Process(server, runtime, tap, folder)
            ports = process.ports(server)
        except (Failed, subprocess.TimeoutExpired) as error:
            if process is not None:
                process.kill()
            self._add(
                Result(server.name, "start", runtime.name, "failed", time.monotonic() - began, [str(error)])
            )
            return
        self._add(Result(server.name, "start", runtime.name, "ok", time.monotonic() - began, []))
        for name, number in ports.items():
            relays[name].target = number
        try:
            pid = process.pid
            addresses = {name: f"127.0.0.1:{number}" for name, number in ports.items()}
            where = ", ".join(f"{name} {address}" for name, address in addresses.items())
            self._pause(f"{server.name} runs on {runtime.title}: {where}\n{server.look.format(**addresses)}")
            for client in (*server.clients, server.ending or _STOP):
                if self._fast and not client.fast:
                    continue
                self._pause(f"next on {runtime.name}: {client.name}")
                stage = Stage(shop.folder, relays, process.log, lambda number: os.kill(pid, number))
                self._drive(server, runtime, client, stage, folder)
            self._end(server, runtime, process, folder)
        finally:
            process.kill()
            for relay in relays.values():
                relay.target = None
                relay.take(0.0)

    def _drive(
        self, server: Server, runtime: Runtime, client: Client, stage: Stage, folder: pathlib.Path
    ) -> None:
        began = time.monotonic()
        failure = ""
        try:
            client.run(stage)
        except Failed as error:
            failure = str(error)
        except Exception as error:  # noqa: BLE001 -- a client may meet anything; the others still have their turn
            failure = f"{type(error).__name__}: {error}"
        finally:
            stage.close()
        seconds = time.monotonic() - began
        taken = sorted(
            (each for relay in stage.relays.values() for each in relay.take(5.0)), key=lambda each: each[0]
        )
        transcript = Transcript(tuple(conversation for _, conversation, _ in taken), bytes(stage.seen))
        self._keep(folder, client.name, transcript, [chunks for _, _, chunks in taken])
        views = (*server.views, *client.views)
        self._judge(server, runtime, client.name, apply(views, transcript), seconds, failure)

    def _end(self, server: Server, runtime: Runtime, process: _Process, folder: pathlib.Path) -> None:
        """Wait for the end of the server, and compare what it leaves behind."""
        began = time.monotonic()
        failure = ""
        seen = b""
        try:
            status = process.wait()
            seen = b"exit status %d\n" % status
            if status != 0:
                failure = f"exit status {status}"
        except Failed as error:
            failure = str(error)
        log = process.log()
        complaint = _COMPLAINT.search(log + process.output())
        failure = failure or (f"the log says:{complaint[0]}" if complaint else "")
        if (folder / "twistd.pid").exists():
            failure = failure or "twistd.pid is still there"
        seen += _seen(log.encode(), (*runtime.log_views, *log_lines))
        if process.output():
            seen += b"output:\n" + _seen(process.output().encode(), (*runtime.log_views, *log_lines))
        for name, views in server.logs.items():
            path = folder.parent / name
            if path.exists():
                seen += name.encode() + b":\n" + _seen(path.read_bytes(), views)
                path.rename(folder / name)
        seconds = time.monotonic() - began
        self._judge(server, runtime, _LOGS, Transcript((), seen), seconds, failure)

    def _judge(
        self,
        server: Server,
        runtime: Runtime,
        client: str,
        transcript: Transcript,
        seconds: float,
        failure: str,
    ) -> None:
        if failure:
            self._add(Result(server.name, client, runtime.name, "failed", seconds, [failure]))
            return
        name, first = self._first.setdefault((server.name, client), (runtime.name, transcript))
        lines = difference(first, transcript, name, runtime.name)
        self._add(Result(server.name, client, runtime.name, "differs" if lines else "ok", seconds, lines))

    def _add(self, result: Result) -> None:
        self.results.append(result)
        self._report(result)

    @staticmethod
    def _keep(
        folder: pathlib.Path, name: str, transcript: Transcript, chunks: list[list[tuple[float, str, int]]]
    ) -> None:
        """Write the transcript for a person, the bytes as they were, and how they were cut."""
        stem = folder / "transcripts" / re.sub(r"[^0-9A-Za-z]+", "-", name).strip("-")
        stem.parent.mkdir(exist_ok=True)
        lines = render(transcript)
        for number, each in enumerate(transcript.conversations):
            for direction, pieces in (("sent", each.sent), ("received", each.received)):
                if number < 20 and any(pieces):
                    stem.with_name(f"{stem.name}.{number + 1}.{direction}").write_bytes(b"".join(pieces))
            if number < 20 and chunks[number]:
                start = chunks[number][0][0]
                cut = " ".join(f"{at - start:.3f}{mark}{size}" for at, mark, size in chunks[number][:100])
                lines.append(f"== conversation {number + 1}, seconds and sizes: {cut}")
        stem.with_name(stem.name + ".txt").write_text("\n".join(lines) + "\n", encoding="ascii")


def _seen(data: bytes, views: tuple[View, ...]) -> bytes:
    return apply(views, Transcript((), data)).seen


@contextlib.contextmanager
def _relays(server: Server) -> Iterator[dict[str, StreamRelay | DatagramRelay]]:
    made: dict[str, StreamRelay | DatagramRelay] = {}
    try:
        for port in server.ports:
            made[port.name] = DatagramRelay(port.name) if port.protocol == "udp" else StreamRelay(port.name)
        yield made
    finally:
        for relay in made.values():
            relay.close()
