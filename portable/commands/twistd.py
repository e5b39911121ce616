"""`twistd`: run the servers of a `.tap` file.

The order of things, each step before anything that the next could harm: refuse a live pid file, open the log,
load and validate, become a daemon, make the reactor (one may start a JVM, which cannot fork any more), bind
every port or none, drop privileges, write the pid file, tell systemd, run.
"""

from __future__ import annotations

import logging
import os
import sys
import typing

from portable.commands import privileges
from portable.commands.daemon import UMASK, Daemon, daemonize
from portable.commands.loading import (
    Application,
    import_the_rest,
    load_python,
    load_tap_file,
    planned_address,
)
from portable.commands.logfile import FileLog, StreamLog
from portable.commands.metrics import with_metrics
from portable.commands.pidfile import PidFile
from portable.commands.serving import DEFAULT_DRAIN, Server
from portable.commands.systemd import Notifier, adopt_sockets
from portable.commands.usage import (
    DONE,
    FAILED,
    CommandError,
    Parser,
    UsageError,
    one_line,
    run_command,
    version_text,
)
from portable.errors import ConfigurationError
from portable.kinds import find_reactor, find_reactors
from portable.logs import JSONFormatter, TextFormatter
from portable.options import Option

if typing.TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from portable.commands.privileges import Identity
    from portable.reactor import Reactor

__all__ = ["main"]

_log = logging.getLogger("twistd")

DEFAULT_FILE = "twistd.tap"

_DRAIN = Option("drain", "duration", None, "")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `twistd` and return its exit status."""
    return run_command("twistd", _run, argv)


def _parser() -> Parser:
    parser = Parser(
        "twistd",
        "Run the servers of a .tap file, made by mktap, as a daemon.",
        "twistd [-f FILE.tap | -y FILE.py] [options]\n       twistd --reactors",
        "Exit status: 0 done (a daemon: its ports are bound), 1 failed, 2 wrong usage.\n"
        "SIGTERM, SIGINT: finish work in flight and stop; a second one stops at once. SIGHUP: read\n"
        "certificates, passwords and the like again, reopen the logs. SIGUSR1: begin a new twistd.log.",
    )
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-f", "--file", metavar="FILE.tap", help=f"what to run (default: {DEFAULT_FILE})")
    what.add_argument(
        "-y", "--python", metavar="FILE.py", help="run the service that this program calls 'application'"
    )
    add("-r", "--reactor", metavar="NAME", default="select", help="the event loop to run on (default: select)")
    add("--reactors", action="store_true", help="list the event loops, and which can run here")
    add("-n", "--nodaemon", action="store_true", help="stay in the foreground and log to standard output")
    add(
        "-l",
        "--logfile",
        metavar="FILE",
        help="default: twistd.log, or - (standard output) with -n; a new one is begun at 1,000,000 bytes, "
        "the last 10 are kept",
    )
    add("--log-format", choices=("text", "json"), default="text", help="default: text")
    add("--pidfile", metavar="FILE", default="twistd.pid", help="default: twistd.pid in the current folder")
    add("-d", "--rundir", metavar="DIR", help="change to this folder first; the log and the pid file go there")
    add(
        "-u",
        "--uid",
        metavar="U",
        help="user, name or number, to run as once the ports are bound (default: the file's)",
    )
    add("-g", "--gid", metavar="G", help="group likewise (default: the file's, or the main group of the user)")
    add(
        "--chroot",
        metavar="DIR",
        help="make DIR the root folder before binding; all other paths then lie in it",
    )
    add("--umask", metavar="OCTAL", help="default: 077 for a daemon, unchanged with -n")
    add("--check", action="store_true", help="load, validate, say what would be bound, and end")
    add(
        "--drain",
        metavar="SECONDS",
        help="how long a stop waits for work in flight (default: the file's, or 10)",
    )
    add(
        "--metrics",
        metavar="ENDPOINT",
        help="serve Prometheus metrics at /metrics, such as tcp:9100 (loopback)",
    )
    add("--profile", metavar="FILE", help="write the profiler's statistics here at the end")
    add("--debug", action="store_true", help="tracebacks, debug messages, warnings about slow callbacks")
    add("--version", action="version", version=version_text("twistd"))
    return parser


def _run(argv: Sequence[str]) -> int:
    chosen = _parser().parse_args(argv)
    if chosen.reactors:
        return _list_reactors()
    umask = _umask(chosen)
    drain = _option_value(_DRAIN, chosen.drain)
    if not chosen.nodaemon and chosen.logfile == "-":
        raise UsageError("a daemon has no standard output: add -n, or name a file after -l")
    load = _loader(chosen)
    profile = os.path.abspath(chosen.profile) if chosen.profile else ""
    if profile and not chosen.chroot and not os.access(os.path.dirname(profile), os.W_OK):
        raise CommandError(
            f"--profile: no file can be made in {os.path.dirname(profile)!r}; name another place"
        )
    if chosen.check:
        return _check(load(), chosen)
    root = os.path.abspath(chosen.chroot) if chosen.chroot else ""
    if root and not os.path.isdir(root):
        raise CommandError(f"--chroot: {chosen.chroot!r} is not a folder")
    if chosen.rundir:
        _change_folder(chosen.rundir)
    if umask is not None:
        os.umask(umask)
    pidfile = PidFile(_below(root, os.path.abspath(chosen.pidfile)))
    pidfile.refuse_live()
    log = _open_log(chosen, root)
    application = load()
    _set_formatter(log, chosen, application.secrets)
    if not root:
        application.verify()
    identity = _identity(chosen, application)
    if chosen.metrics:
        application = with_metrics(application, chosen.metrics)
    make_reactor = find_reactor(chosen.reactor)
    if root and os.geteuid() != 0:
        raise CommandError("--chroot: only root can change the root folder")
    launch = _Launch(make_reactor, application, log, pidfile, identity, root)
    launch.drain = next((one for one in (drain, application.drain) if one is not None), DEFAULT_DRAIN)
    if chosen.nodaemon:
        return launch.run(None, profile, chosen.debug)
    former = os.getpid()
    daemon = daemonize()
    if isinstance(daemon, int):
        return daemon
    adopt_sockets(os.environ, former)
    return launch.run(daemon, profile, chosen.debug)


class _Launch:
    """The steps from the (possible) fork on."""

    def __init__(
        self,
        make_reactor: Callable[[], Reactor],
        application: Application,
        log: FileLog | StreamLog,
        pidfile: PidFile,
        identity: Identity | None,
        root: str,
    ) -> None:
        self._make_reactor = make_reactor
        self._application = application
        self._log = log
        self._pidfile = pidfile
        self._identity = identity
        self._root = root
        self.drain = DEFAULT_DRAIN

    def run(self, daemon: Daemon | None, profile: str, debug: bool) -> int:
        """Bind, start, run, end. A daemon tells its parent how the start went, and raises nothing."""
        ready = False
        notifier = Notifier(os.environ)
        reactor: Reactor | None = None
        try:
            reactor = self._make_reactor()
            server = self._start(reactor, notifier)
            if daemon is not None:
                daemon.ready()
            ready = True
            notifier.ready()
            server.run(profile, debug)
        except Exception as error:
            if daemon is None:
                raise
            if ready:
                _log.exception("the server failed")
            else:
                _log.error("%s", error, exc_info=debug)
                daemon.failed(f"twistd: {one_line(error)}")
            return FAILED
        finally:
            if reactor is not None:
                reactor.close()
            notifier.close()
            self._pidfile.remove()
            if ready:
                _log.info("stopped")
        return DONE

    def _start(self, reactor: Reactor, notifier: Notifier) -> Server:
        if self._root:
            self._change_root()
            self._application.verify()
        service = self._application.service
        service.bind(reactor)
        self._become()
        server = Server(reactor, service, self._log, notifier, self.drain)
        server.start()
        return server

    def _change_root(self) -> None:
        import_the_rest()
        os.chroot(self._root)
        os.chdir("/")

    def _become(self) -> None:
        """Drop privileges and write the pid file."""
        identity = self._identity
        if identity is None or os.geteuid() != 0:
            if os.geteuid() == 0:
                _log.warning("running as root: name a user with --uid")
            if identity is not None:
                privileges.drop_privileges(identity)
            self._pidfile.create()
            return
        if isinstance(self._log, FileLog):
            self._log.give_to(identity.uid, identity.gid)
        self._application.service.give_to(identity.uid, identity.gid)
        # Made while we still may: the folder is often root's own. Where we cannot remove it, we can empty it.
        self._pidfile.create(identity.uid, identity.gid)
        privileges.drop_privileges(identity)


def _list_reactors() -> int:
    choices = find_reactors()
    width = max(len(choice.name) for choice in choices)
    for choice in choices:
        state = f"cannot run here: {choice.missing}" if choice.missing else "can run here"
        print(f"{choice.name:<{width}}  {state}")
    return DONE


def _check(application: Application, chosen: Namespace) -> int:
    application.verify()
    _identity(chosen, application)
    find_reactor(chosen.reactor)
    if chosen.metrics:
        application = with_metrics(application, chosen.metrics)
    for port in application.service.ports():
        print(f"would listen: {planned_address(port)}")
    return DONE


def _loader(chosen: Namespace) -> Callable[[], Application]:
    if chosen.python is not None:
        program = os.path.abspath(chosen.python)
        return lambda: load_python(program)
    path = os.path.abspath(chosen.file or DEFAULT_FILE)
    if chosen.file is None and not os.path.lexists(path):
        raise CommandError(f"there is no {path!r}: name another file with -f, or make one with mktap")
    return lambda: load_tap_file(path)


def _change_folder(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        raise CommandError(f"--rundir: {path!r}: {error.strerror}") from error


def _identity(chosen: Namespace, application: Application) -> Identity | None:
    uid = application.uid if chosen.uid is None else _number_or_name(chosen.uid)
    gid = application.gid if chosen.gid is None else _number_or_name(chosen.gid)
    identity = privileges.find_identity(uid, gid)
    if identity is not None:
        privileges.check_may_become(identity)
    return identity


def _number_or_name(text: str) -> str | int:
    return int(text) if text.isascii() and text.isdigit() else text


def _umask(chosen: Namespace) -> int | None:
    if chosen.umask is None:
        return None if chosen.nodaemon else UMASK
    if not 0 < len(chosen.umask) <= 4 or any(digit not in "01234567" for digit in chosen.umask):
        raise UsageError(f"--umask: {chosen.umask!r} is not an octal number such as 027")
    return int(chosen.umask, 8) & 0o777


def _option_value(option: Option, text: str | None) -> typing.Any:
    try:
        return None if text is None else option.parse(text)
    except ConfigurationError as error:
        raise UsageError(str(error)) from error


def _open_log(chosen: Namespace, root: str) -> FileLog | StreamLog:
    name = chosen.logfile or ("-" if chosen.nodaemon else "twistd.log")
    log = StreamLog() if name == "-" else FileLog(_below(root, os.path.abspath(name)))
    _set_formatter(log, chosen, ())
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    top = logging.getLogger()
    top.handlers[:] = [log]
    top.setLevel(logging.DEBUG if chosen.debug else logging.INFO)
    return log


def _set_formatter(log: FileLog | StreamLog, chosen: Namespace, secrets: tuple[str, ...]) -> None:
    make = JSONFormatter if chosen.log_format == "json" else TextFormatter
    log.setFormatter(make(secrets, tracebacks=chosen.debug))


def _below(root: str, path: str) -> str:
    """Return `path`, moved below `root` unless it is there: a folder outside, held open, would be a way out."""
    return path if not root or path.startswith(f"{root}/") else root + path


if __name__ == "__main__":
    sys.exit(main())
