from __future__ import annotations

import json
import os
import stat
import typing

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from portable import tap
from portable.errors import ConfigurationError
from portable.options import Kind, Option
from portable.service import Service

if typing.TYPE_CHECKING:
    import pathlib


def refuse_seven(values: typing.Mapping[str, typing.Any]) -> None:
    if values["count"] == 7:
        raise ConfigurationError("seven is taken", "--count")


KIND = Kind(
    "thing",
    3,
    "A thing",
    (
        Option("count", "int", 1, "", maximum=10),
        Option("names", "str", (), "", repeatable=True),
        Option("file", "path", None, "", must_exist=True),
        Option("files", "path", (), "", must_exist=True, repeatable=True),
    ),
    lambda values: Service(f"thing {values['count']}"),
    check=refuse_seven,
)


def find(name: str) -> Kind:
    if name != "thing":
        raise ConfigurationError(f"there is no server kind {name!r}")
    return KIND


def document(**changes: typing.Any) -> dict[str, typing.Any]:
    service = {"kind": "thing", "version": 3, "options": {"count": 2}}
    return {"format": "portable-tap", "version": 1, "uid": None, "gid": None, "services": [service], **changes}


def parse(value: object) -> tap.Tap:
    return tap.parse_tap(json.dumps(value).encode(), find)


def service(**changes: typing.Any) -> dict[str, typing.Any]:
    return document(services=[{"kind": "thing", "version": 3, "options": {}, **changes}])


def test_a_file_says_what_to_run() -> None:
    loaded = parse(document(uid="www", gid=33))
    assert (loaded.uid, loaded.gid) == ("www", 33)
    (entry,) = loaded.services
    assert entry.kind is KIND
    assert entry.values == {"count": 2, "names": (), "file": None, "files": ()}
    assert entry.given == {"count": 2}
    assert entry.make().name == "thing 2"


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (document(format="x"), "format"),
        (document(version=2), "version"),
        (document(version=True), "version"),
        (document(version="1"), "version"),
        (document(uid=[]), "uid"),
        (document(uid=""), "uid"),
        (document(gid=-1), "gid"),
        (document(gid=1 << 32), "gid"),
        (document(gid=True), "gid"),
        (document(extra=1), "extra"),
        (document(services={}), "services"),
        (document(services=[]), "services"),
        (document(services=[1]), "services[0]"),
        ({"format": "portable-tap"}, "version"),
        ([], ""),
        (service(kind="no"), "services[0].kind"),
        (service(kind=1), "services[0].kind"),
        (service(version=4), "services[0].version"),
        (service(version=2), "services[0].version"),
        (service(options=[]), "services[0].options"),
        (service(options={"count": "1"}), "services[0].options.count"),
        (service(options={"count": 11}), "services[0].options.count"),
        (service(options={"no-such": 1}), "services[0].options.no-such"),
        (service(options={"names": ["a", 1]}), "services[0].options.names[1]"),
        (service(options={"file": "relative"}), "services[0].options.file"),
        (service(more=1), "services[0].more"),
        (service(**{"\n": 1}), "services[0].'\\n'"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(value: object, where: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(value)
    assert caught.value.where == where
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (b'"version": 1', b'"version": 1, "version": 1', "version"),
        (b'"count": 2', b'"count": 2, "count": 2', "services[0].options.count"),
        (b'"count": 2', b'"x": [{"a": 1, "a": 2}]', "services[0].options.x[0].a"),
    ],
)
def test_a_field_that_is_there_twice_is_refused(old: bytes, new: bytes, where: str) -> None:
    data = json.dumps(document()).encode()
    assert old in data
    with pytest.raises(ConfigurationError, match="twice") as caught:
        tap.parse_tap(data.replace(old, new, 1), find)
    assert caught.value.where == where


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b"\x80\x04\x95",  # a pickle
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b" " * (tap.MAX_SIZE + 1),
        b"[NaN]",
        b"[1" + b"0" * 5000 + b"]",
        b'"\\"[[[[[[[[[["',
    ],
)
def test_what_is_no_tap_file_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigurationError):
        tap.parse_tap(data, find)


@given(st.binary(max_size=60))
def test_garbage_brings_nothing_but_a_configuration_error(data: bytes) -> None:
    with pytest.raises(ConfigurationError):
        tap.parse_tap(data, find)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(["format", "version", "uid", "gid", "services", "kind", "options", "count", "names"]), JSON
)
def test_any_value_in_any_field_is_taken_or_refused(name: str, value: object) -> None:
    data = document()
    if name in data:
        data[name] = value
    elif name in data["services"][0]:
        data["services"][0][name] = value
    else:
        data["services"][0]["options"][name] = value
    try:
        loaded = parse(data)
    except ConfigurationError:
        return
    assert tap.parse_tap(tap.format_tap(loaded), find) == loaded


def test_what_was_saved_is_loaded(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "thing.tap")
    entry = tap.make_entry(KIND, {"names": ["a", "\u00e9\u202e"]})
    saved = tap.Tap((entry, entry), "root", 0)
    tap.save_tap(path, saved)
    assert tap.load_tap(path, find) == saved
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(tmp_path) == ["thing.tap"]


def test_errors_of_a_file_begin_with_its_name(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.tap"
    with pytest.raises(ConfigurationError, match=r"x\.tap"):
        tap.load_tap(str(path), find)
    path.write_bytes(b"{}")
    with pytest.raises(ConfigurationError, match=r"x\.tap: format: this field is missing"):
        tap.load_tap(str(path), find)
    path.write_bytes(b" " * (tap.MAX_SIZE + 1))
    with pytest.raises(ConfigurationError, match=r"x\.tap"):
        tap.load_tap(str(path), find)


def test_files_that_options_name_must_be_there(tmp_path: pathlib.Path) -> None:
    here = tmp_path / "here"
    here.write_text("x")
    gone = str(tmp_path / "gone")
    tap.make_entry(KIND, {"file": str(here), "files": [str(here), str(tmp_path)]}).verify()
    with pytest.raises(ConfigurationError) as caught:
        tap.make_entry(KIND, {"file": gone}).verify()
    assert caught.value.where == "options.file"
    with pytest.raises(ConfigurationError) as caught:
        tap.make_entry(KIND, {"files": [str(here), gone]}).verify("services[1].options")
    assert caught.value.where == "services[1].options.files"


def test_the_folder_of_a_file_that_is_written_must_be_there(tmp_path: pathlib.Path) -> None:
    kind = Kind("logs", 1, "", (Option("log", "path", None, "", writes=True),), lambda _: Service("x"))
    tap.make_entry(kind, {}).verify()
    tap.make_entry(kind, {"log": str(tmp_path / "log")}).verify()
    (tmp_path / "file").touch()
    for folder, reason in (("gone", "No such file"), ("file", "is not a folder")):
        with pytest.raises(ConfigurationError, match=reason) as caught:
            tap.make_entry(kind, {"log": str(tmp_path / folder / "log")}).verify()
        assert caught.value.where == "options.log"


def test_files_that_cannot_be_read_are_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may read everything, so the answer of the system is given here.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigurationError, match="permission denied"):
        tap.make_entry(KIND, {"file": str(tmp_path)}).verify()


def test_certificates_that_endpoints_name_must_be_good(tmp_path: pathlib.Path) -> None:
    kind = Kind("tls", 1, "", (Option("listen", "endpoint", (), "", repeatable=True),), lambda _: Service("x"))
    both = tmp_path / "both.pem"
    certificate = trustme.CA().issue_cert("example.org")
    both.write_bytes(certificate.private_key_and_cert_chain_pem.bytes())
    good = f"tls:0:certificate={both}"
    tap.make_entry(kind, {"listen": ["tcp:0", good, f"{good}:clientca={both}"]}).verify()
    (tmp_path / "bad.pem").write_text("nonsense")
    for bad in ("gone.pem", "bad.pem"):
        with pytest.raises(ConfigurationError, match=bad) as caught:
            tap.make_entry(kind, {"listen": [good, f"tls:0:certificate={tmp_path}/{bad}"]}).verify()
        assert caught.value.where == "options.listen"
        with pytest.raises(ConfigurationError, match=bad):
            tap.make_entry(kind, {"listen": [f"{good}:certificate={tmp_path}/{bad}"]}).verify()


def test_the_kind_checks_last() -> None:
    with pytest.raises(ConfigurationError, match="seven is taken"):
        tap.make_entry(KIND, {"count": 7}).verify()
