"""A pytest plugin that turns every skipped test into a failed one: `pytest -p tests.no_skips`.

On a developer's machine a test may skip for want of a program; where everything was installed on purpose, a
skip means that something was not tested.
"""

from __future__ import annotations

import typing

import pytest

if typing.TYPE_CHECKING:
    from collections.abc import Generator

R = typing.TypeVar("R", pytest.TestReport, pytest.CollectReport)


def _fail_skipped(report: R) -> R:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"nothing may be skipped here, but this was: {reason}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _fail_skipped((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _fail_skipped((yield))
