"""Certificate files: what is said about bad ones, and what happens when they change."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import ssl
import time
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import ConfigurationError
from portable.testing import ManualClock
from portable.tls import CertificateWatch, TLSOptions, client_options, context_options, server_options
from portable.tls.certificates import host_names, not_after
from tests.portable.tls.certs import PASSWORD, Certificates, common_name, read
from tests.portable.tls.recording import Pair

if typing.TYPE_CHECKING:
    from pathlib import Path

DAY = 24 * 3600


def served(options: TLSOptions, certs: Certificates, asked: str = "any.test") -> str:
    """Return the name in the certificate that a new connection gets."""
    client = client_options(asked, ca=certs.ca)
    client.context.check_hostname = False
    return common_name(Pair(client, options).shake().client.transport.get_extra_info("peercert"))


# What is wrong with a file


def test_the_file_that_is_missing_is_named(certs: Certificates, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere.pem")
    with pytest.raises(ConfigurationError, match="there is no such file") as caught:
        server_options(nowhere)
    assert caught.value.where == nowhere
    with pytest.raises(ConfigurationError, match="there is no such file") as caught:
        server_options(certs.server.cert, nowhere)
    assert caught.value.where == nowhere
    with pytest.raises(ConfigurationError, match="there is no such file") as caught:
        client_options("server.test", ca=nowhere)
    assert caught.value.where == nowhere
    with pytest.raises(ConfigurationError, match="it is a folder"):
        server_options(str(tmp_path))


def test_a_file_without_what_is_sought_is_named(certs: Certificates) -> None:
    empty = certs.file("empty.pem", "nothing here\n")
    with pytest.raises(ConfigurationError, match="holds no certificate") as caught:
        server_options(empty, certs.server.key)
    assert caught.value.where == empty
    with pytest.raises(ConfigurationError, match="holds no private key") as caught:
        server_options(certs.server.cert, empty)
    assert caught.value.where == empty
    with pytest.raises(ConfigurationError, match="holds no private key") as caught:
        server_options(certs.server.cert)
    assert caught.value.where == certs.server.cert
    with pytest.raises(ConfigurationError, match="holds no certificate"):
        client_options("server.test", ca=certs.server.key)


def test_der_is_told_from_pem(certs: Certificates) -> None:
    der = certs.file("server.der", ssl.PEM_cert_to_DER_cert(first_certificate(certs.server.cert)))
    with pytest.raises(ConfigurationError, match="DER form, not PEM"):
        server_options(der, certs.server.key)
    # A comment may begin with the same character.
    commented = certs.file("commented.pem", "0 s:CN = server.test, sch\u00f6n\n" + read(certs.server.cert))
    assert served(server_options(commented, certs.server.key), certs) == "server.test"


def test_a_key_of_another_certificate_is_refused(certs: Certificates) -> None:
    with pytest.raises(
        ConfigurationError, match=f"does not belong to the certificate in {certs.server.cert}"
    ) as caught:
        server_options(certs.server.cert, certs.other.key)
    assert caught.value.where == certs.other.key


def test_encrypted_keys(certs: Certificates) -> None:
    with pytest.raises(ConfigurationError, match="no password was given") as caught:
        server_options(*certs.encrypted)
    assert caught.value.where == certs.encrypted.key
    with pytest.raises(ConfigurationError, match="does not decrypt"):
        server_options(*certs.encrypted, password="wrong")
    with pytest.raises(ConfigurationError, match="cannot be used: "):
        server_options(*certs.encrypted, password="long" * 1000)
    assert served(server_options(*certs.encrypted, password=PASSWORD), certs) == "server.test"


def test_damaged_files(certs: Certificates) -> None:
    head, _, rest = read(certs.server.cert).partition("\n")
    damaged = certs.file("damaged.pem", head + "\nAAAA" + rest)
    with pytest.raises(ConfigurationError, match="cannot be used") as caught:
        server_options(damaged, certs.server.key)
    assert caught.value.where == damaged
    with pytest.raises(ConfigurationError, match="cannot be used as authorities") as caught:
        client_options("server.test", ca=damaged)
    assert caught.value.where == damaged


def test_one_file_may_hold_both(certs: Certificates) -> None:
    options = server_options(certs.single, others=[(certs.single, None)])
    assert options.paths() == [certs.single, certs.single]
    assert served(options, certs) == "server.test"


def test_a_further_certificate_must_be_for_a_host(certs: Certificates) -> None:
    with pytest.raises(ConfigurationError, match="for no host name") as caught:
        server_options(*certs.server, others=[certs.client])
    assert caught.value.where == certs.client.cert
    assert served(server_options(*certs.client, others=[certs.server]), certs) == "client@example.org"


def test_the_first_certificate_for_a_name_is_taken(certs: Certificates) -> None:
    options = server_options(*certs.server, others=[certs.other, certs.expired, certs.wild])
    assert served(options, certs, "server.test") == "server.test"


def test_options_that_make_no_sense(certs: Certificates) -> None:
    with pytest.raises(ConfigurationError, match="only be required with"):
        server_options(*certs.server, require_client_certificate=True)
    with pytest.raises(ConfigurationError, match="without its certificate"):
        client_options("server.test", privkey=certs.client.key)
    for name in ("", ".", "a..b", ".test", "x" * 64 + ".test", "*.test", "nul\0.test"):
        with pytest.raises(ConfigurationError, match="name"):
            client_options(name, verify=False)
    for alpn in ("", "x" * 256, "\u00fc"):
        with pytest.raises(ConfigurationError, match="ALPN"):
            server_options(*certs.server, alpn=(alpn,))


def test_names_are_sent_in_ascii() -> None:
    assert client_options("B\u00fccher.Test.", verify=False).server_name == "xn--bcher-kva.test"


def test_what_is_old_or_dangerous_is_off(certs: Certificates) -> None:
    for context in (server_options(*certs.server).context, client_options("server.test").context):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.options & ssl.OP_NO_COMPRESSION
    assert client_options("server.test").context.verify_mode is ssl.CERT_REQUIRED
    assert client_options("server.test").context.check_hostname


def test_all_files_are_watched(certs: Certificates) -> None:
    server = server_options(*certs.server, others=[certs.other], client_ca=certs.ca)
    assert server.paths() == [*certs.server, *certs.other, certs.ca]
    client = client_options("server.test", ca=certs.ca, certificate=certs.client.cert, privkey=certs.client.key)
    assert client.paths() == [*certs.client, certs.ca]
    assert client_options("server.test").paths() == []


# Expiry


def first_certificate(path: str) -> str:
    text = read(path)
    return text[: text.index("-----END CERTIFICATE-----") + 26]


def test_when_certificates_expire_is_known(certs: Certificates) -> None:
    soon = certs.authority.issue("in40", "soon.test", days=40)
    options = server_options(*certs.server, others=[soon])
    assert set(options.expiries) == {certs.server.cert, soon.cert}
    assert options.not_after == options.expiries[soon.cert]
    assert options.not_after == pytest.approx(time.time() + 40 * DAY, abs=3600)
    assert client_options("server.test").not_after is None


@pytest.mark.parametrize("days", [-1, 13, 15, 365 * 30, 365 * 300])
def test_the_log_warns_of_the_end(certs: Certificates, days: int, caplog: pytest.LogCaptureFixture) -> None:
    pair = certs.authority.issue(f"days{days}", "server.test", days=days)
    options = server_options(*pair)
    assert options.not_after == pytest.approx(time.time() + days * DAY, abs=3600)
    # Once, by what serves: whoever only checks whether the files are good has them loaded before.
    assert caplog.text == ""
    CertificateWatch(options, ManualClock())
    if days > 14:
        assert caplog.text == ""
    else:
        assert f"{pair.cert} {'expired' if days < 0 else 'expires soon'}" in caplog.text


def test_dates_as_the_standard_writes_them() -> None:
    def certificate(tag: int, date: bytes, version: bytes = b"") -> bytes:
        validity = b"\x17\x0d000101000000Z" + bytes([tag, len(date)]) + date
        body = version + b"\x02\x01\x01" + b"\x30\x00" * 2 + b"\x30" + bytes([len(validity)]) + validity
        body = b"\x30\x81" + bytes([len(body)]) + body
        return b"\x30\x82\x00" + bytes([len(body)]) + body

    assert not_after(certificate(0x17, b"700101000000Z", b"\xa0\x03\x02\x01\x02")) == 0
    assert not_after(certificate(0x17, b"491231235959Z")) == 2524607999
    # Version 1 has no version field.
    assert not_after(certificate(0x18, b"20500101000000Z")) == 2524608000
    for tag, date in ((0x18, b"2050010100000+0100"), (0x02, b"20500101000000Z"), (0x17, b"x")):
        with pytest.raises(ValueError, match="date"):
            not_after(certificate(tag, date))
    with pytest.raises(ValueError, match="cut short"):
        not_after(certificate(0x17, b"700101000000Z")[:-1])


def test_names_as_the_standard_writes_them(certs: Certificates) -> None:
    def names(pair: tuple[str, str]) -> list[str]:
        return host_names(ssl.PEM_cert_to_DER_cert(first_certificate(pair[0])))

    # Addresses are no names.
    assert names(certs.server) == ["server.test", "localhost"]
    assert names(certs.wild) == ["*.wild.test"]
    assert names(certs.client) == []
    # Extensions: one that is empty, one that is critical, with a name in capitals.
    extensions = bytes.fromhex("3000 3012 0603551d11 0101ff 0408 3006 8204") + b"A.Bc"
    body = b"\xa3" + bytes([len(extensions) + 2]) + b"\x30" + bytes([len(extensions)]) + extensions
    body = b"\x30" + bytes([len(body)]) + body
    assert host_names(b"\x30" + bytes([len(body)]) + body) == ["a.bc"]
    for nothing in ("3002 3000", "3008 3006 a304 3002 3000"):
        assert host_names(bytes.fromhex(nothing)) == []


@given(st.binary(max_size=60))
def test_no_bytes_confuse_the_reader_of_certificates(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  which message does not matter
        not_after(data)
    with contextlib.suppress(ValueError):
        host_names(data)


# Reload


class Folder:
    """A folder with server.pem and server.key that is changed as Kubernetes changes it: by swapping a link."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.cert = str(path / "server.pem")
        self.key = str(path / "server.key")
        os.symlink("..data/server.pem", self.cert)
        os.symlink("..data/server.key", self.key)

    def put(self, cert: str, key: str) -> None:
        self.count += 1
        version = self.path / f"version{self.count}"
        version.mkdir()
        shutil.copy(cert, version / "server.pem")
        shutil.copy(key, version / "server.key")
        os.symlink(version.name, self.path / "..new")
        os.replace(self.path / "..new", self.path / "..data")


@pytest.fixture
def folder(tmp_path: Path, certs: Certificates) -> Folder:
    folder = Folder(tmp_path)
    folder.put(*certs.server)
    return folder


def test_reload_serves_new_connections_and_leaves_old_ones(
    folder: Folder, certs: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    options = server_options(folder.cert, folder.key)
    client = client_options("server.test", ca=certs.ca)
    old = Pair(client, options).shake()
    begun = Pair(client, options)
    assert not options.changed()
    folder.put(*certs.other)
    assert options.changed()
    assert served(options, certs) == "server.test"
    assert options.reload()
    assert not options.changed()
    assert f"loaded the certificate {folder.cert}" in caplog.text
    assert served(options, certs) == "other.test"
    old.client.transport.write(b"still here")
    old.flush()
    assert old.server.data == b"still here"
    # A handshake under way goes on with what it began with.
    begun.shake()


@pytest.mark.parametrize("fault", ["mismatch", "missing", "garbage"])
def test_a_failed_reload_keeps_the_last_good_certificates(
    folder: Folder, certs: Certificates, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = server_options(folder.cert, folder.key)
    if fault == "mismatch":
        folder.put(certs.other.cert, certs.server.key)
    elif fault == "missing":
        os.unlink(folder.path / "..data")
    else:
        folder.put(certs.file("garbage.pem", "garbage"), certs.server.key)
    assert not options.reload()
    assert "going on with the old ones" in caplog.text
    assert folder.cert in caplog.text or folder.key in caplog.text
    assert served(options, certs) == "server.test"
    # Not again and again.
    assert not options.changed()
    if fault == "missing":
        os.symlink("version1", folder.path / "..data")
    else:
        folder.put(*certs.other)
    assert options.changed()
    assert options.reload()


def test_no_failure_at_all_ends_the_old_certificates(
    certs: Certificates, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    options = server_options(*certs.server)

    def vanish(*_: object) -> typing.NoReturn:
        raise FileNotFoundError("between two looks")

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", vanish)
    assert not options.reload()
    assert "between two looks" in caplog.text


def test_names_are_reloaded_too(folder: Folder, certs: Certificates) -> None:
    options = server_options(*certs.other, others=[(folder.cert, folder.key)])
    assert served(options, certs, "server.test") == "server.test"
    assert served(options, certs, "any.wild.test") == "other.test"
    folder.put(*certs.wild)
    assert options.reload()
    assert served(options, certs, "server.test") == "other.test"
    assert served(options, certs, "any.wild.test") == "*.wild.test"


def test_the_watch_sees_changes_and_stops(folder: Folder, certs: Certificates) -> None:
    clock = ManualClock()
    options = server_options(folder.cert, folder.key)
    watch = CertificateWatch(options, clock, interval=10)
    clock.advance(25)
    folder.put(*certs.other)
    clock.advance(4)
    assert served(options, certs) == "server.test"
    clock.advance(1)
    assert served(options, certs) == "other.test"
    watch.stop()
    watch.stop()
    assert clock.next_time() is None


def test_the_watch_warns_once_a_day(certs: Certificates, caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    CertificateWatch(server_options(*certs.expired), clock, interval=3600)
    caplog.clear()
    clock.advance(23.5 * 3600)
    assert caplog.text == ""
    clock.advance(3 * DAY)
    assert len(caplog.records) == 3


# Contexts made by others


def test_a_context_made_by_somebody_else(certs: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certs.server)
    options = context_options(context, server_side=True)
    client = context_options(
        client_options("any.test", ca=certs.ca).context, server_side=False, server_name="any.test"
    )
    client.context.check_hostname = False
    pair = Pair(client, options).shake()
    assert common_name(pair.client.transport.get_extra_info("peercert")) == served(
        server_options(*certs.server), certs
    )
    assert options.context is context
    assert options.paths() == []
    assert options.not_after is None
    assert not options.changed()
    assert options.reload()
