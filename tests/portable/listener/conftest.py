"""What the tests of listeners share: a reactor without sockets, and recorders that know of one test only."""

from __future__ import annotations

import pytest

from tests.portable.listening import FakeReactor, Recorder


@pytest.fixture(autouse=True)
def _forget_protocols() -> None:
    Recorder.made = []


@pytest.fixture
def loop() -> FakeReactor:
    return FakeReactor()
