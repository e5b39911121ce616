"""Unmodified asyncio programs, of the standard library and of others, on our reactors."""

from __future__ import annotations

import asyncio
import email.message
import ftplib
import hashlib
import io
import resource
import smtplib
import socket
import ssl
import typing

import aioftp
import aiosmtpd.smtp
import pytest
import trustme
import websockets.asyncio.client
import websockets.asyncio.server

from backends.asyncio import ReactorEventLoop, run
from portable.tls import server_options
from tests.backends.asyncio.programs import echo, port_of

if typing.TYPE_CHECKING:
    import pathlib

    from portable.reactor import Reactor


def test_streams_echo_50_mb_in_flat_memory(reactor: Reactor) -> None:
    """drain() holds the writer back, or all of it would wait in memory."""
    piece = bytes(range(256)) * 1024
    count = 200
    most = 0

    async def main() -> str:
        nonlocal most
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))

        async def send() -> None:
            nonlocal most
            for _ in range(count):
                writer.write(piece)
                most = max(most, writer.transport.get_write_buffer_size())
                await writer.drain()
            writer.write_eof()

        digest = hashlib.sha256()
        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            while data := await reader.read(100_000):
                digest.update(data)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return digest.hexdigest()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert run(main(), reactor) == hashlib.sha256(piece * count).hexdigest()
    assert most < 600_000
    # The expected digest alone takes 50 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 90_000


def test_smtp_server(reactor: Reactor) -> None:
    """aiosmtpd, driven by smtplib."""
    received: list[bytes] = []

    class Keep:
        async def handle_DATA(self, server: object, session: object, envelope: typing.Any) -> str:
            received.append(envelope.content)
            return "250 kept"

    def talk(port: int) -> None:
        message = email.message.EmailMessage()
        message["From"], message["To"], message["Subject"] = "a@example.org", "b@example.org", "Hello"
        message.set_content("line\r\n" * 5000)
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            for _ in range(3):
                client.send_message(message)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ReactorEventLoop)
        server = await loop.create_server(
            lambda: aiosmtpd.smtp.SMTP(Keep(), hostname="test", loop=loop), "127.0.0.1", 0
        )
        await asyncio.to_thread(talk, port_of(server))
        server.close()
        await server.wait_closed()

    run(main(), reactor)
    assert len(received) == 3
    assert received[0].count(b"line") == 5000


def test_ftp_server(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    """aioftp, driven by ftplib: a listener for every transfer."""
    (tmp_path / "there").write_bytes(b"x" * 300_000)

    def talk(port: int) -> bytes:
        got = io.BytesIO()
        with ftplib.FTP(timeout=10) as client:
            client.connect("127.0.0.1", port)
            client.login()
            client.storbinary("STOR here", io.BytesIO(b"y" * 300_000))
            client.retrbinary("RETR there", got.write)
            assert sorted(name for name, _ in client.mlsd()) == ["here", "there"]
        return got.getvalue()

    async def main() -> bytes:
        user = aioftp.User(base_path=tmp_path)
        server = aioftp.Server([user])
        await server.start("127.0.0.1", 0)
        got = await asyncio.to_thread(talk, server.server_port)
        await server.close()
        return got

    assert run(main(), reactor) == b"x" * 300_000
    assert (tmp_path / "here").read_bytes() == b"y" * 300_000


def test_websockets(reactor: Reactor) -> None:
    """Server and client of the websockets package."""

    async def answer(connection: websockets.asyncio.server.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def main() -> None:
        async with websockets.asyncio.server.serve(answer, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with websockets.asyncio.client.connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
                for message in ("text", b"bytes", "x" * 500_000):
                    await client.send(message)
                    assert await client.recv() == message

    run(main(), reactor)


class Certificates(typing.NamedTuple):
    server: ssl.SSLContext
    client: ssl.SSLContext
    pem: str


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    ca = trustme.CA()
    cert = ca.issue_cert("localhost", "127.0.0.1")
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    cert.private_key_and_cert_chain_pem.write_to_path(str(path))
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    cert.configure_cert(server)
    ca.configure_trust(client)
    return Certificates(server, client, str(path))


@pytest.mark.parametrize("ours", [False, True])
def test_tls_streams(reactor: Reactor, certificates: Certificates, ours: bool) -> None:
    """`ssl` is an SSLContext, or TLSOptions of ours; a client that does not trust it gets an ssl.SSLError."""

    async def main() -> None:
        given: typing.Any = server_options(certificates.pem) if ours else certificates.server
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=given)
        port = port_of(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=certificates.client)
        writer.write(b"x" * 1_000_000)
        assert await reader.readexactly(1_000_000) == b"x" * 1_000_000
        assert writer.get_extra_info("cipher")[0]
        assert writer.get_extra_info("sslcontext") is certificates.client
        assert not writer.can_write_eof()
        writer.close()
        await writer.wait_closed()
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection("127.0.0.1", port, ssl=True)
        server.close()

    run(main(), reactor)


def test_start_tls(reactor: Reactor, certificates: Certificates) -> None:
    """StreamWriter.start_tls on both sides."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go ahead\n")
        await writer.start_tls(certificates.server)
        await echo(reader, writer)

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go ahead\n"
        await writer.start_tls(certificates.client, server_hostname="localhost")
        writer.write(b"secret\n")
        assert await reader.readline() == b"secret\n"
        assert writer.get_extra_info("ssl_object") is not None
        writer.close()
        await writer.wait_closed()
        server.close()

    run(main(), reactor)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_socket_of_a_connection(reactor: Reactor, host: str) -> None:
    """Programs ask it for addresses and set its options, on java.nio too, where there is none of Python's."""

    async def main() -> None:
        server = await asyncio.start_server(echo, host, 0)
        _, writer = await asyncio.open_connection(host, port_of(server))
        sock = writer.get_extra_info("socket")
        assert sock.family == (socket.AF_INET6 if ":" in host else socket.AF_INET)
        assert sock.type == socket.SOCK_STREAM
        assert sock.getpeername() == server.sockets[0].getsockname()
        assert sock.getsockname()[:2] == writer.get_extra_info("sockname")[:2]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer.close()
        server.close()
        await server.wait_closed()

    run(main(), reactor)


def test_unix_streams(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    """start_unix_server and open_unix_connection."""

    async def main() -> None:
        path = tmp_path / "socket"
        server = await asyncio.start_unix_server(echo, path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()
        server.close()
        await server.wait_closed()

    run(main(), reactor)


def test_datagrams(reactor: Reactor) -> None:
    """There and back; an error of the network is an OSError."""

    class Answer(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override] # as documented
            self.transport = transport

        def datagram_received(self, data: bytes, addr: typing.Any) -> None:
            self.transport.sendto(data.upper(), addr)

    class Ask(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.queue: asyncio.Queue[bytes | Exception] = asyncio.Queue()

        def datagram_received(self, data: bytes, addr: object) -> None:
            self.queue.put_nowait(data)

        def error_received(self, exc: Exception) -> None:
            self.queue.put_nowait(exc)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(Answer, ("127.0.0.1", 0))
        client, asking = await loop.create_datagram_endpoint(Ask, remote_addr=server.get_extra_info("sockname"))
        client.sendto(b"hello")
        assert await asyncio.wait_for(asking.queue.get(), 5) == b"HELLO"
        server.close()
        await asyncio.sleep(0.01)
        client.sendto(b"anybody?")
        assert isinstance(await asyncio.wait_for(asking.queue.get(), 5), ConnectionRefusedError)
        client.close()

    run(main(), reactor)


def test_what_goes_wrong_is_an_os_error(reactor: Reactor) -> None:
    """Refused, unknown, in use, reset: the classes that programs catch."""

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = port_of(server)
        with pytest.raises(OSError, match="another process") as caught:
            await asyncio.start_server(echo, "127.0.0.1", port)
        assert caught.value.errno
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x")
        await reader.readexactly(1)
        typing.cast("asyncio.Transport", writer.transport).abort()
        server.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(socket.gaierror):
            await asyncio.open_connection("nobody.invalid", port)
        with pytest.raises(ValueError, match="host/port"):
            await asyncio.start_server(echo)
        with pytest.raises(NotImplementedError, match="any port"):
            await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.1", 1))

    run(main(), reactor)


def test_a_reset_is_told_to_the_reader(reactor: Reactor) -> None:
    """As ConnectionResetError."""
    seen: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(10)
        except ConnectionResetError as exc:
            seen.append(exc)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        await asyncio.sleep(0.01)
        typing.cast("asyncio.Transport", writer.transport).abort()
        async with asyncio.timeout(5):
            while not seen:
                await asyncio.sleep(0.01)
        server.close()

    run(main(), reactor)
    assert len(seen) == 1


def test_sendfile(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    """After what was written before, before what is written later."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 4000)

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"<")
        with path.open("rb") as file:
            sent = await asyncio.get_running_loop().sendfile(writer.transport, file, 256)
            assert file.tell() == 256 * 4000
        assert sent == 256 * 3999
        memory = io.BytesIO(b"no file of the system's")
        assert await asyncio.get_running_loop().sendfile(writer.transport, memory, 2) == 21
        writer.write(b">")
        writer.close()

    async def main() -> bytes:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        data = await reader.read()
        writer.close()
        server.close()
        return data

    assert run(main(), reactor) == b"<" + path.read_bytes()[256:] + b" file of the system's>"


def test_a_socket_bound_by_the_program(reactor: Reactor) -> None:
    """create_server(sock=...). The program goes on asking it for its address, until the server is closed."""

    async def main() -> None:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(echo, sock=sock)
        assert sock.getsockname()[1] == port_of(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        writer.write(b"x\n")
        assert await reader.readline() == b"x\n"
        writer.close()
        server.close()
        assert sock.fileno() == -1
        await server.wait_closed()

    run(main(), reactor)


def test_serve_forever_ends_with_its_task(reactor: Reactor) -> None:
    """Cancelling it closes the server; `async with` does too."""

    async def main() -> None:
        async with await asyncio.start_server(echo, ["127.0.0.1"], 0, start_serving=False) as server:
            assert not server.is_serving()
            task = asyncio.create_task(server.serve_forever())
            await asyncio.sleep(0)
            assert server.is_serving()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not server.is_serving()

    run(main(), reactor)
