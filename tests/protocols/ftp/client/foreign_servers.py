"""Other people's FTP servers, on loopback, each in a process of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import typing
from dataclasses import dataclass

import pytest

from portable.endpoints import TCPClientEndpoint

if typing.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.portable.tls.certs import Certificates

__all__ = ["PASSWORD", "USER", "ForeignServer", "pyftpdlib_server", "vsftpd_server"]

USER = "joe"
PASSWORD = "secret of joe"

# Says its port on standard output. Arguments: root, and for TLS a PEM file with key and certificate.
PYFTPDLIB = """
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer

root, user, password, pem = sys.argv[1:]
handler = TLS_FTPHandler if pem else FTPHandler
if pem:
    handler.certfile = pem
    handler.tls_control_required = handler.tls_data_required = True
handler.authorizer = DummyAuthorizer()
handler.authorizer.add_user(user, password, root, perm="elradfmwMT")
handler.auth_failed_timeout = 0.1
server = FTPServer(("127.0.0.1", 0), handler)
print(server.address[1], flush=True)
server.serve_forever()
"""

VSFTPD = """
background=NO
listen=YES
listen_address=127.0.0.1
listen_port={port}
run_as_launching_user=YES
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
secure_chroot_dir={folder}/empty
anonymous_enable=YES
local_enable=NO
no_anon_password=NO
anon_root={root}
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_umask=022
allow_writeable_chroot=YES
write_enable=YES
mdtm_write=YES
connect_from_port_20=NO
xferlog_enable=NO
max_per_ip=0
max_clients=0
"""

VSFTPD_TLS = """
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
require_ssl_reuse=YES
strict_ssl_read_eof=YES
ssl_ciphers=HIGH
rsa_cert_file={cert}
rsa_private_key_file={key}
"""


@dataclass
class ForeignServer:
    """A server that runs.

    Attributes:
        port: at `address`.
        root: the folder that it shows.
        user, password: who may write there.
    """

    port: int
    root: Path
    user: str = USER
    password: str = PASSWORD
    address: str = "127.0.0.1"

    @property
    def endpoint(self) -> TCPClientEndpoint:
        return TCPClientEndpoint(self.address, self.port)


@contextlib.contextmanager
def pyftpdlib_server(folder: Path, certs: Certificates | None = None) -> Iterator[ForeignServer]:
    """Run pyftpdlib; with `certs` it demands TLS for everything."""
    root = folder / "root"
    root.mkdir()
    pem = "" if certs is None else certs.single
    argv = [sys.executable, "-W", "ignore", "-c", PYFTPDLIB, str(root), USER, PASSWORD, pem]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (folder / "log").read_text()
        yield ForeignServer(int(line), root)
    finally:
        process.terminate()
        process.communicate()


@contextlib.contextmanager
def vsftpd_server(folder: Path, certs: Certificates | None = None) -> Iterator[ForeignServer]:
    """Run vsftpd; with `certs` it demands TLS for everything, and the session of the control connection for
    data.
    """
    program = shutil.which("vsftpd", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        pytest.skip("vsftpd is not installed")
    root = folder / "root"
    root.mkdir()
    (folder / "empty").mkdir()
    for _ in range(5):
        port = _free_port()
        text = VSFTPD.format(port=port, folder=folder, root=root)
        if certs is not None:
            text += VSFTPD_TLS.format(cert=certs.server.cert, key=certs.server.key)
        (folder / "vsftpd.conf").write_text(text)
        process = subprocess.Popen([program, str(folder / "vsftpd.conf")], stdout=subprocess.DEVNULL)
        try:
            if _comes_up(process, port):
                yield ForeignServer(port, root, "anonymous", "joe@")
                return
        finally:
            process.terminate()
            process.wait()
    raise AssertionError("vsftpd does not start")


def _free_port() -> int:
    # It cannot be told to take any; somebody else may take this one meanwhile.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _comes_up(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
            return probe.recv(3) == b"220"
        time.sleep(0.01)
    return False
