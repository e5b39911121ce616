"""Accept every kind of server on every runtime: `ci/accept [SERVER ...]`.

For each server the real mktap makes one .tap file, and each runtime runs that same file. Clients (curl, wget,
nc, socat, openssl, ab, Python's own) go through relays that write down every byte of both directions. What
differs from the first runtime, after dates and what else is random have been masked, is shown as a diff.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import platform
import sys
import tempfile
import time

from ci.acceptance.report import matrix
from ci.acceptance.running import Result, Session, all_servers, kinds_without_scenario
from ci.acceptance.runtimes import RUNTIMES


def main(argv: list[str] | None = None) -> int:
    """Return the exit status: 0 if all is well, 1 if anything differs or fails, 2 for wrong usage."""
    servers = all_servers()
    parser = argparse.ArgumentParser(prog="ci/accept", description=__doc__.split("\n\n")[1])
    names = [server.name for server in servers]
    parser.add_argument(
        "servers", nargs="*", metavar="SERVER", help=f"all when none is given: {', '.join(names)}"
    )
    parser.add_argument(
        "--runtime",
        nargs="+",
        action="extend",
        metavar="NAME",
        choices=[runtime.name for runtime in RUNTIMES],
        help="all when not given: " + "; ".join(f"{runtime.name}: {runtime.title}" for runtime in RUNTIMES),
    )
    parser.add_argument("--require", action="store_true", help="a runtime that cannot run here is a failure")
    parser.add_argument("--fast", action="store_true", help="leave out the clients that take long")
    parser.add_argument("--interactive", action="store_true", help="wait for a person between the steps")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the results there")
    parser.add_argument("--keep", action="store_true", help="keep transcripts and logs, and say where")
    parser.add_argument(
        "--quiet", action="store_true", help="show no progress, and of the matrix only what is wrong"
    )
    chosen = parser.parse_args(argv)
    unknown = [name for name in chosen.servers if name not in names]
    if unknown:
        parser.error(f"there is no server {unknown[0]!r}; known are: {', '.join(names)}")
    began = time.monotonic()
    with _folder(chosen.keep) as name:
        folder = pathlib.Path(name)
        session = Session(
            folder,
            tuple(each for each in RUNTIMES if not chosen.runtime or each.name in chosen.runtime),
            fast=chosen.fast,
            pause=_pause if chosen.interactive else lambda _text: None,
            report=(lambda _result: None) if chosen.quiet else _progress,
        )
        try:
            for server in servers:
                if not chosen.servers or server.name in chosen.servers:
                    session.run(server)
        except KeyboardInterrupt:
            print("\nci/accept: interrupted", file=sys.stderr)
            return 130
        if not chosen.servers:
            for kind in kinds_without_scenario(servers):
                advice = f"declare it in ci/acceptance/scenarios/{kind}.py"
                session.results.append(Result(kind, "*", "all", "failed", 0.0, [f"no scenario: {advice}"]))
        wrong = [each for each in session.results if each.status in {"failed", "differs"}]
        print()
        for line in matrix(session.results, only_wrong=chosen.quiet):
            print(line)
        for each in wrong:
            print(f"\n{each.server}, {each.client}, {each.runtime}: {each.status}")
            for line in each.detail:
                print(f"  {line}")
        for missing, reason in session.missing.items():
            print(f"missing: {missing}: {reason}")
        if chosen.json:
            _write(chosen.json, session)
        if chosen.keep:
            print(f"transcripts and logs: {folder}")
        good = sum(each.status == "ok" for each in session.results)
        print(f"ci/accept: {good} ok, {len(wrong)} wrong, in {time.monotonic() - began:.1f} s")
        return 1 if wrong or (chosen.require and session.missing) else 0


def _folder(keep: bool) -> tempfile.TemporaryDirectory[str] | _Kept:
    return _Kept() if keep else tempfile.TemporaryDirectory(prefix="ci-accept-")


class _Kept:
    """A new folder that stays."""

    def __enter__(self) -> str:
        return tempfile.mkdtemp(prefix="ci-accept-")

    def __exit__(self, *_exc: object) -> None:
        pass


def _pause(text: str) -> None:
    print(f"\n{text.rstrip()}")
    try:
        input("[Enter goes on, Ctrl-C ends] ")
    except EOFError:
        raise KeyboardInterrupt from None


def _progress(result: Result) -> None:
    print(
        f"{result.runtime:8} {result.server}: {result.client}: {result.status} {result.seconds:.2f} s",
        flush=True,
    )


def _write(path: pathlib.Path, session: Session) -> None:
    written = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "missing": session.missing,
        "results": [dataclasses.asdict(result) for result in session.results],
    }
    path.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
