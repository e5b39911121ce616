"""The server kind `web`: a folder with its programs, a file or a resource of one's own, by HTTP and HTTPS."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import os
import typing

from portable.accounts import Accounts, account_options
from portable.endpoints import TCPEndpoint, TLSEndpoint
from portable.errors import ConfigurationError, FileError
from portable.files import file_status
from portable.listener import ListenerOptions, ServerPort
from portable.listening import (
    certificate_options,
    certificates,
    listener_options,
    listening_options,
    server_ports,
)
from portable.options import Kind, Option
from portable.recording import RecordingService
from protocols.http.limits import Limits
from protocols.http.resource import error_page, find_resource
from protocols.http.server import Site
from protocols.servers.telnet import TelnetService
from protocols.servers.web.accesslog import AccessLog
from protocols.servers.web.cgi import DEFAULT_SECONDS, CGIPrograms
from protocols.servers.web.distributed import UserDirectory, publishing_broker
from protocols.servers.web.distributed.ports import check_distributed, personal_ports
from protocols.servers.web.processors import PROCESSORS, Processors
from protocols.servers.web.pythonpages import OutputPages, ResourcePages
from protocols.servers.web.static import DEFAULT_INDEX, DEFAULT_TYPE, StaticFile, StaticFolder

if typing.TYPE_CHECKING:
    from portable.files import OpenFile
    from portable.protocol import ProtocolFactory
    from portable.reactor import Reactor
    from portable.service import Service
    from protocols.http.connection import HTTPServer
    from protocols.http.request import Request
    from protocols.http.resource import Rendered, Resource
    from protocols.pb import Broker
    from protocols.servers.web.processors import Processor

__all__ = ["KIND", "WebService", "load_resource", "make_service"]

_log = logging.getLogger("protocols.servers.web")

DEFAULT_PORT = 8080
_LIMITS = Limits()
_ALPN = ListenerOptions(alpn=("http/1.1",))
# In place of names of processors: the folder has no programs, and all files are sent.
_NONE = "none"


def load_resource(dotted_name: str) -> Resource:
    """Return a new instance of the class "package.module.Name", which is called without arguments.

    Raises:
        ConfigurationError: there is no such class, or it cannot be made into a resource.
    """
    module_name, dot, class_name = dotted_name.rpartition(".")
    if not dot or not module_name or not class_name.isidentifier():
        raise ConfigurationError(f"{dotted_name!r} is not module.Class", "--class")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigurationError(
            f"cannot import {module_name}: {type(error).__name__}: {error}", "--class"
        ) from error
    found: object = getattr(module, class_name, None)
    if not callable(found):
        raise ConfigurationError(f"module {module_name} has no class {class_name}", "--class")
    try:
        resource: object = found()
    except Exception as error:
        raise ConfigurationError(
            f"{dotted_name}() failed: {type(error).__name__}: {error}", "--class"
        ) from error
    if not callable(getattr(resource, "render", None)) or not callable(getattr(resource, "child", None)):
        raise ConfigurationError(f"{dotted_name} is no resource: it lacks render or child", "--class")
    return typing.cast("Resource", resource)


class WebService(RecordingService[AccessLog]):
    """One site on any number of ports.

    Args:
        find_root: called by `bind`, when the root folder of the process is the one it serves from: returns the
            root of the site, and the folder that it serves, if it is one.
        values: checked values of the options of KIND.
    """

    def __init__(
        self,
        find_root: typing.Callable[[], tuple[Resource, StaticFolder | None]],
        values: typing.Mapping[str, typing.Any],
    ) -> None:
        self._personal: bool = values["personal"]
        if self._personal:
            ports = personal_ports(values, KIND.name, self._make_protocol)
        else:
            ports = server_ports(values, KIND.name, self._make_protocol, base=_ALPN)
        if values["https"] is not None:
            options = listener_options(values, _ALPN)
            ports.append(ServerPort(KIND.name, self._make_protocol, _https_endpoint(values), options))
        self._console_names: dict[str, object] = {}
        consoles = [] if values["telnet"] is None else [_make_console(self._console_names, values)]
        super().__init__(
            KIND.name,
            ports,
            open_log=AccessLog,
            log_path=values["logfile"],
            log_option="--logfile",
            children=consoles,
        )
        self._find_root = find_root
        self._path: str | None = values["path"]
        self._resource: Resource | None = None
        self._folder: StaticFolder | None = None
        self._processors = _processor_names(values)
        self._seconds: float = values["script-timeout"]
        self._limits = dataclasses.replace(
            _LIMITS, max_body=values["max-body"], idle_timeout=values["keep-alive"]
        ).throttled(values["throttle"])
        self._site: Site | None = None

    def bind(self, reactor: Reactor) -> None:
        """See `Service.bind`."""
        self._resource, self._folder = self._find_root()
        self._console_names["resource"] = self._resource
        if isinstance(self._resource, UserDirectory):
            self._resource.start(reactor)
        super().bind(reactor)
        self._site = Site(self._resource, clock=reactor, limits=self._limits, access_log=self.log)

    def start(self) -> None:
        """See `Service.start`."""
        reactor = self.reactor
        if reactor is not None and self._folder is not None:
            self._folder.threads = reactor if "threads" in reactor.capabilities else None
            if self._processors:
                self._folder.processors = self._make_processors(reactor)
        # It was checked before, but perhaps as root, and the process has become somebody else.
        if self._path is not None and not os.access(
            self._path, os.X_OK if os.path.isdir(self._path) else os.R_OK
        ):
            _log.warning("this user may not read %r, which is to be served", self._path)
        super().start()

    def _make_processors(self, reactor: Reactor) -> Processors:
        made: dict[str, Processor] = {
            "cgi": CGIPrograms(reactor, self._render, seconds=self._seconds, max_body=self._limits.max_body),
            # Without it PHP fears that it was put where anybody may call it by its URL (cgi.force_redirect).
            "php": CGIPrograms(
                reactor,
                self._render,
                seconds=self._seconds,
                max_body=self._limits.max_body,
                interpreter="php-cgi",
                extra={"REDIRECT_STATUS": "200"},
            ),
            "epy": OutputPages(reactor, self._seconds),
            "rpy": ResourcePages(reactor, self._seconds),
        }
        return Processors({name: made[name] for name in self._processors})

    def _render(self, request: Request) -> Rendered:
        """Return the answer to a request that a program has redirected."""
        resource = None if self._resource is None else find_resource(self._resource, request)
        return error_page(404) if resource is None else resource.render(request)

    def _make_protocol(self) -> HTTPServer | Broker:
        if self._site is None:
            raise AssertionError("a connection before bind")
        if self._personal:
            reactor = self.reactor
            has_threads = reactor is not None and "threads" in reactor.capabilities
            return publishing_broker(self._site, reactor if has_threads else None)
        return self._site()


def make_service(values: typing.Mapping[str, typing.Any]) -> Service:
    """Return the service for checked values. Opens nothing.

    Raises:
        ConfigurationError: there is nothing to serve, or the class cannot be loaded.
    """
    _check(values)
    if values["user"]:
        users = UserDirectory(lambda *where: _make_user_folder(values, *where), max_body=values["max-body"])
        return WebService(lambda: (users, None), values)
    if values["class"] is not None:
        resource = load_resource(values["class"])
        return WebService(lambda: (resource, None), values)
    return WebService(lambda: _find_path(values), values)


def _find_path(values: typing.Mapping[str, typing.Any]) -> tuple[Resource, StaticFolder | None]:
    """Return what stands for --path, and the folder that it serves, if it is one.

    Raises:
        ConfigurationError: it is not there.
    """
    path: str = values["path"]
    if _status_is_dir(path):
        folder = _make_folder(path, values)
        return folder, folder
    root, _, name = path.replace(os.sep, "/").rpartition("/")
    if _processor_names(values) and Processors({}).kind(name):
        folder = _make_folder(root or "/", values)
        return folder.beneath(name), folder
    return StaticFile(path, values["mime-type"]), None


def _make_folder(path: str, values: typing.Mapping[str, typing.Any]) -> StaticFolder:
    index = values["index"] or DEFAULT_INDEX
    if index == DEFAULT_INDEX:
        index = (*index, *[f"index.{name}" for name in _processor_names(values)])
    return _make_static(path, values, index)


def _make_user_folder(
    values: typing.Mapping[str, typing.Any],
    home: str,
    opener: typing.Callable[[typing.Sequence[str], bool], OpenFile],
) -> StaticFolder:
    """Return the resource of a user's pages. Programs in them are not run: they would have our rights."""
    folder = _make_static(home, values, values["index"] or DEFAULT_INDEX, opener)
    folder.processors = Processors({})
    return folder


def _make_static(
    path: str,
    values: typing.Mapping[str, typing.Any],
    index: typing.Sequence[str],
    opener: typing.Callable[[typing.Sequence[str], bool], OpenFile] | None = None,
) -> StaticFolder:
    return StaticFolder(
        path,
        index_names=index,
        listing=values["listing"],
        default_type=values["mime-type"],
        ignore_suffix=values["allow-ignore-ext"],
        follow_links=values["symlinks"],
        opener=opener,
    )


def _processor_names(values: typing.Mapping[str, typing.Any]) -> list[str]:
    """Return the processors asked for, each once, in their usual order; none for "none"."""
    words = [word.strip() for word in values["processors"].split(",")]
    if words == [_NONE]:
        return []
    for word in words:
        if word not in PROCESSORS:
            known = ", ".join(PROCESSORS)
            raise ConfigurationError(f"{word!r} is none of {known}; or say {_NONE}", "--processors")
    return [name for name in PROCESSORS if name in words]


def _https_endpoint(values: typing.Mapping[str, typing.Any]) -> TLSEndpoint:
    first, *others = certificates(values)
    return TLSEndpoint(values["https"], *first, interface=values["interface"], others=tuple(others))


def _make_console(names: dict[str, object], values: typing.Mapping[str, typing.Any]) -> Service:
    """Return a Python console on loopback, with `names` in its namespace."""

    def make_ports(factory: ProtocolFactory) -> list[ServerPort]:
        endpoint = TCPEndpoint(values["telnet"], "127.0.0.1")
        return [ServerPort("telnet", factory, endpoint, ListenerOptions())]

    accounts = Accounts(values["telnet-user"], values["telnet-passwords"])
    return TelnetService(make_ports, accounts, names=names)


def _status_is_dir(path: str) -> bool:
    try:
        return file_status(path).is_dir
    except FileError as error:
        raise ConfigurationError(str(error), "--path") from error


def _check(values: typing.Mapping[str, typing.Any]) -> None:
    """Refuse options that have no meaning together."""
    roots = [f"--{name}" for name in ("path", "class", "user") if values[name]]
    if not roots:
        raise ConfigurationError(
            "nothing to serve: give --path DIR (or a file), --class module.Resource, or --user"
        )
    if len(roots) > 1:
        raise ConfigurationError(f"give either {roots[0]} or {roots[1]}, not both", roots[1])
    check_distributed(values, DEFAULT_PORT)
    for name in values["index"]:
        if not name or "/" in name or "\\" in name or name in {".", ".."}:
            raise ConfigurationError(f"{name!r} is not the name of a file in a folder", "--index")
    if values["https"] is not None and not values["certificate"]:
        raise ConfigurationError("needs --certificate FILE (PEM)", "--https")
    for name in ("certificate", "privkey"):
        if values["https"] is None and values[name]:
            raise ConfigurationError("goes with --https PORT", f"--{name}")
    certificates(values)
    with_login = values["telnet-user"] or values["telnet-passwords"] is not None
    if values["telnet"] is not None and not with_login:
        raise ConfigurationError(
            "it needs --telnet-user NAME[:PASSWORD] or --telnet-passwords FILE", "--telnet"
        )
    if values["telnet"] is None and with_login:
        given = "--telnet-user" if values["telnet-user"] else "--telnet-passwords"
        raise ConfigurationError("goes with --telnet PORT", given)
    _check_media_type(values["mime-type"])
    _processor_names(values)


def _check_files(values: typing.Mapping[str, typing.Any]) -> None:
    """Refuse a certificate and a file of accounts that cannot be used."""
    if values["https"] is not None:
        _https_endpoint(values).options()
    Accounts(values["telnet-user"], values["telnet-passwords"]).load()


def _check_media_type(text: str) -> None:
    kind, slash, rest = text.partition("/")
    if not kind or not slash or not rest or any(char < " " or char > "~" for char in text):
        raise ConfigurationError(f"{text!r} is not a media type such as text/plain", "--mime-type")


KIND = Kind(
    name="web",
    version=1,
    summary="a web server for a folder, a file or a resource class, by HTTP and HTTPS",
    options=(
        Option("path", "path", None, "folder or file to serve", must_exist=True, metavar="DIR|FILE"),
        Option(
            "index",
            "str",
            DEFAULT_INDEX,
            "file shown for a folder; the first one that exists",
            metavar="NAME",
            repeatable=True,
        ),
        Option("listing", "bool", True, "list folders without an index file"),
        Option(
            "mime-type",
            "str",
            DEFAULT_TYPE,
            "media type of files whose name tells none",
            short="m",
            metavar="TYPE",
        ),
        Option("allow-ignore-ext", "bool", False, "/foo also finds foo.html, or whichever foo.* there is"),
        Option(
            "symlinks", "bool", False, "follow symbolic links whose relative target stays inside the folder"
        ),
        Option(
            "processors",
            "str",
            ",".join(PROCESSORS),
            "programs that are run, by the ends of their names: whoever may write in the folder may then run "
            "anything. Those left out are neither run nor shown; none sends all files as they are",
            metavar="NAME,...",
        ),
        Option(
            "script-timeout",
            "duration",
            DEFAULT_SECONDS,
            "time that a cgi, php or epy program may take, and an rpy file to define its resource",
            minimum=0.1,
        ),
        Option(
            "max-body",
            "size",
            _LIMITS.max_body,
            "longest body of a request, such as an upload to a program; a longer one is refused (413)",
        ),
        Option(
            "keep-alive",
            "duration",
            _LIMITS.idle_timeout,
            "how long a connection may wait for its next request",
            minimum=0.1,
        ),
        Option("class", "str", None, "serve this resource class instead", metavar="MODULE.CLASS"),
        Option(
            "user",
            "bool",
            False,
            "serve /NAME/ from ~NAME/public_html, /NAME.twistd/ from the server behind ~NAME/.twistd-web-pb",
        ),
        Option(
            "personal",
            "bool",
            False,
            "serve a server that has --user: on the Unix socket ~/.twistd-web-pb, or --listen; on no port",
        ),
        Option("https", "port", None, "also serve by HTTPS on this port", short="s"),
        *certificate_options(),
        Option(
            "telnet", "port", None, "also serve a Python console by telnet on this port of loopback", short="t"
        ),
        *account_options("telnet-"),
        Option(
            "logfile", "path", None, "write an access log here, in the combined format", short="l", writes=True
        ),
        *listening_options(DEFAULT_PORT),
    ),
    make_service=make_service,
    check=_check_files,
)
