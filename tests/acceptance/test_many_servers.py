"""One process, many servers: `mktap --append`."""

from __future__ import annotations

import re
import socket
import struct
import time
import typing

from tests.acceptance.shell import free_ports
from tests.commands.processes import read_all

if typing.TYPE_CHECKING:
    from tests.acceptance.shell import Shell

# RFC 868: seconds from 1900 to 1970.
EPOCH = 2_208_988_800
PORTS = {"echo": 7, "daytime": 13, "qotd": 17, "chargen": 19, "time": 37}


def test_web_inetd_and_portforward_in_one_process(shell: Shell) -> None:
    shell.static(index_html=b"<h1>hello</h1>")
    base = free_ports(*PORTS.values())
    shell.mktap("-o", "all.tap", "web", "--path", "static", "-p", "0", "-i", "127.0.0.1", "--listen", "unix:w")
    services = ",".join(PORTS)
    shell.mktap("--append", "all.tap", "inetd", "--services", services, "--port-base", str(base), "--udp")
    to = ("--to", "unix:w")
    shell.mktap("--append", "all.tap", "portforward", "-p", "0", "-i", "127.0.0.1", *to)
    checked = shell.run("twistd", "--check", "-f", "all.tap")
    assert checked.returncode == 0
    assert checked.stdout.count("would listen: ") == 3 + 2 * len(PORTS)
    pid = shell.twistd("-f", "all.tap")

    for port in (shell.port("web"), shell.port("portforward")):
        assert shell.curl(f"http://127.0.0.1:{port}/") == "<h1>hello</h1>"
    assert shell.curl("--unix-socket", "w", "http://localhost/") == "<h1>hello</h1>"
    ports = {name: str(base + number) for name, number in PORTS.items()}
    assert ports["echo"] == str(shell.port("echo")) == str(shell.port("echo", "udp"))
    assert shell.do("nc", "-N", "127.0.0.1", ports["echo"], typed=b"one\ntwo\n") == "one\ntwo\n"
    assert re.search(r"\d\d:\d\d:\d\d", shell.do("nc", "127.0.0.1", ports["daytime"]))
    assert 1 < len(shell.do("nc", "127.0.0.1", ports["qotd"])) <= 512
    assert shell.do("nc", "-u", "-W", "1", "127.0.0.1", ports["echo"], typed=b"datagram") == "datagram"
    with socket.create_connection(("127.0.0.1", int(ports["time"])), 20) as peer:
        (seconds,) = struct.unpack(">I", read_all(peer))
    assert abs(seconds - EPOCH - time.time()) < 10
    with socket.create_connection(("127.0.0.1", int(ports["chargen"])), 20) as peer:
        received = b""
        while len(received) < 100_000:
            received += peer.recv(65536)
    assert re.fullmatch(rb"[ -~]{72}", received.split(b"\r\n")[500])
    assert pid == shell.pid()
    shell.stop()
    # The socket in the file system is ours to remove.
    assert "w" not in shell.names()


def test_a_forwarder_in_a_process_of_its_own(shell: Shell) -> None:
    content = b"forwarded" * 500_000
    shell.static(large_bin=content)
    port = shell.serve()
    front = shell.path / "front"
    front.mkdir()
    to = f"tcp:127.0.0.1:{port}"
    shell.mktap("-o", "front/web.tap", "portforward", "-p", "0", "-i", "127.0.0.1", "--to", to)
    forwarder = shell.foreground("-f", "front/web.tap", "--pidfile", "front.pid")
    url = f"http://127.0.0.1:{shell.port('portforward')}/large.bin"
    shell.curl("-o", "got", url, "-o", "again", url)
    assert (shell.path / "got").read_bytes() == content
    assert (shell.path / "again").read_bytes() == content
    shell.stop()
    # Nobody behind it: the connection ends without an answer, and the forwarder goes on. 52: "Empty reply",
    # 56: "Failure in receiving network data"; 7: the end came before curl had looked at the connection.
    client = shell.start("curl", "-sS", "--max-time", "15", url)
    client.communicate(timeout=20)
    assert client.returncode in {7, 52, 56}
    assert forwarder.poll() is None
    forwarder.terminate()
    assert forwarder.wait(20) == 0
    assert "front.pid" not in shell.names()
