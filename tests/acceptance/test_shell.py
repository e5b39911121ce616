from __future__ import annotations

import os
import typing

import pytest

from tests.acceptance.shell import PACKAGES

if typing.TYPE_CHECKING:
    from tests.acceptance.shell import Shell


def test_a_missing_program_is_a_failure_that_names_its_package(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(shell.lib))
    with pytest.raises(pytest.fail.Exception, match=r"^wget is not installed; .*: apt-get install wget$"):
        shell.find("wget")


def test_every_program_is_known_with_its_package(shell: Shell) -> None:
    for name in PACKAGES:
        assert os.access(shell.find(name), os.X_OK)
