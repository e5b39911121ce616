"""HTTPS with certificates that are renewed while the server runs."""

from __future__ import annotations

import os
import signal
import typing

import pytest
import trustme

from tests.acceptance.shell import wait_until

if typing.TYPE_CHECKING:
    from tests.acceptance.shell import Shell

NAME = "www.example.org"


@pytest.fixture
def authority(shell: Shell) -> trustme.CA:
    """An authority that curl is told to trust as "ca.pem"."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(shell.path / "ca.pem"))
    return made


def renew(shell: Shell, authority: trustme.CA) -> str:
    """Put a new certificate where the server reads it, as a renewal does; return its serial number."""
    issued = authority.issue_cert(NAME)
    for name, content in (
        ("certificate.pem", b"".join([blob.bytes() for blob in issued.cert_chain_pems])),
        ("privkey.pem", issued.private_key_pem.bytes()),
    ):
        (shell.path / f"{name}.new").write_bytes(content)
        os.replace(shell.path / f"{name}.new", shell.path / name)
    return shell.do("openssl", "x509", "-in", "certificate.pem", "-noout", "-serial").strip()


def shown_serial(shell: Shell, port: int) -> str:
    """Return the serial number of the certificate that a new connection gets."""
    words = ("-connect", f"127.0.0.1:{port}", "-servername", NAME, "-CAfile", "ca.pem", "-verify_return_error")
    (shell.path / "seen.txt").write_text(shell.do("openssl", "s_client", *words))
    return shell.do("openssl", "x509", "-in", "seen.txt", "-noout", "-serial").strip()


def serve(shell: Shell) -> int:
    shell.static(index_html=b"<h1>hello</h1>", large_bin=bytes(3_000_000))
    shell.serve("--https", "0", "--certificate", "certificate.pem", "--privkey", "privkey.pem")
    return shell.port("web", "tls")


def secure_curl(shell: Shell, port: int, path: str, *words: str, status: int = 0) -> str:
    trust = ("--cacert", "ca.pem", "--resolve", f"{NAME}:{port}:127.0.0.1")
    return shell.curl(*trust, *words, f"https://{NAME}:{port}{path}", status=status)


def reload(shell: Shell) -> None:
    """Tell the daemon to load its certificates again, and wait until it has tried."""
    before = shell.logged()
    os.kill(shell.pid(), signal.SIGHUP)
    wait_until(lambda: "reload" in shell.logged()[len(before) :], "the log's word of a reload")


def test_curl_and_openssl_speak_tls(shell: Shell, authority: trustme.CA) -> None:
    serial = renew(shell, authority)
    port = serve(shell)
    assert secure_curl(shell, port, "/") == "<h1>hello</h1>"
    assert secure_curl(shell, port, "/", "--tlsv1.2", "--tls-max", "1.2") == "<h1>hello</h1>"
    assert secure_curl(shell, port, "/large.bin", "-o", "large") == ""
    assert (shell.path / "large").read_bytes() == bytes(3_000_000)
    # curl offers h2 as well, and takes what we speak.
    assert secure_curl(shell, port, "/", "-o", "x", "-w", "%{http_version}") == "1.1"
    # The plain port serves the same.
    assert shell.curl(f"http://127.0.0.1:{shell.port('web')}/") == "<h1>hello</h1>"
    assert shown_serial(shell, port) == serial
    request = f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode()
    words = ("-connect", f"127.0.0.1:{port}", "-servername", NAME, "-CAfile", "ca.pem", "-quiet")
    answer = shell.do("openssl", "s_client", *words, "-alpn", "http/1.1", typed=request)
    assert answer.startswith("HTTP/1.1 200 OK")
    assert answer.endswith("<h1>hello</h1>")
    # Plain HTTP is no TLS, and gets no answer. 52: "Empty reply", 56: "Failure in receiving network data"; 1: a
    # TLS alert, which is no HTTP.
    plain = shell.start("curl", "-sS", "--max-time", "15", f"http://127.0.0.1:{port}/")
    plain.communicate(timeout=20)
    assert plain.returncode in {1, 52, 56}
    # 35: "SSL connect error", for what is older than TLS 1.2.
    secure_curl(shell, port, "/", "--ciphers", "DEFAULT@SECLEVEL=0", "--tlsv1.1", "--tls-max", "1.1", status=35)
    # 60: without the authority, curl does not trust us.
    shell.curl("--resolve", f"{NAME}:{port}:127.0.0.1", f"https://{NAME}:{port}/", status=60)
    shell.stop()


def test_a_renewed_certificate_is_used_without_a_restart(shell: Shell, authority: trustme.CA) -> None:
    first = renew(shell, authority)
    port = serve(shell)
    assert shown_serial(shell, port) == first
    second = renew(shell, authority)
    assert second != first
    reload(shell)
    assert shown_serial(shell, port) == second
    assert secure_curl(shell, port, "/") == "<h1>hello</h1>"
    shell.stop()


def test_a_broken_renewal_keeps_the_last_good_certificate(shell: Shell, authority: trustme.CA) -> None:
    serial = renew(shell, authority)
    port = serve(shell)
    (shell.path / "certificate.pem").write_text("no certificate\n")
    reload(shell)
    assert shown_serial(shell, port) == serial
    assert any("certificate" in line for line in shell.complaints()), shell.logged()
    # A certificate whose key is another's, as while a renewal writes the one and then the other.
    other = authority.issue_cert(NAME)
    (shell.path / "certificate.pem").write_bytes(other.cert_chain_pems[0].bytes())
    reload(shell)
    assert shown_serial(shell, port) == serial
    assert secure_curl(shell, port, "/") == "<h1>hello</h1>"
    # And then it is whole again.
    serial = renew(shell, authority)
    reload(shell)
    assert shown_serial(shell, port) == serial
    shell.end(shell.pid())
    assert "twistd.pid" not in shell.names()
