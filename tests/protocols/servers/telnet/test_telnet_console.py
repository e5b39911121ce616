"""The console as people meet it: on every reactor, with our own client at the other end."""

from __future__ import annotations

import logging
import sys
import time
import typing

import pytest

from portable.attempts import LoginAttempts
from portable.testing import wait_until
from protocols.console import runner
from protocols.servers.telnet import login as login_module
from protocols.telnet import codes
from protocols.telnet.naws import WindowSize
from tests.protocols.servers.telnet.consoles import console

if typing.TYPE_CHECKING:
    from portable.reactor import Reactor
    from portable.transport import Address

pytestmark = pytest.mark.usefixtures("untraced_threads")


def test_log_in_and_compute(reactor: Reactor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "protocols.telnet"), console(reactor) as served:
        person = served.person().log_in()
        assert "secret" not in person.text
        assert person.say("6 * 7") == "42\n"
        assert person.say("def f(x):", "\r\n... ") == ""
        assert person.say("    return x + _", "\r\n... ") == ""
        assert person.say("") == ""
        assert person.say("f(1)") == "43\n"
        assert "ZeroDivisionError" in person.say("1/0")
        assert "SyntaxError" in person.say("1 +* 2")
        assert '"is" with a literal' in person.say("1 is 1")
        person.type("exit()")
        person.wait_for_end()
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("login: me from 127.0.0.1:")
    assert said[1:3] == ["statement: me: 6 * 7", r"statement: me: def f(x):\x0a    return x + _\x0a"]
    assert said[-1] == "logout: me"
    assert "secret" not in caplog.text


def test_output_is_streamed_and_the_loop_goes_on(reactor: Reactor) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        person.type("import time; print('begun'); time.sleep(0.3); print('ended')")
        began = time.monotonic()
        person.wait("begun\r\n")
        turns = 0
        while "ended\r\n" not in person.text:
            reactor.step(0.005)
            turns += 1
            assert time.monotonic() - began < 20
        assert turns > 5
        person.wait(">>> ")


@pytest.mark.parametrize("how", ["key", "command"])
def test_a_loop_without_end_is_interrupted(reactor: Reactor, how: str) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        person.type("while True: pass")
        person.wait("... ")
        person.client.send("\r")
        person.wait("\r\n")
        wait_until(reactor, lambda: _running(served) == 1)
        if how == "key":
            person.client.send("\x03")
        else:
            person.client.send_command(codes.IP)
        assert "KeyboardInterrupt" in person.wait(">>> ")
        assert person.say("'still here'") == "'still here'\n"


def test_a_statement_is_interrupted_at_any_moment(reactor: Reactor) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        for turns in range(40):
            person.type("while True: pass\r")
            person.wait("... ")
            person.wait("\r\n")
            for _ in range(turns % 4):
                reactor.step(0.0005)
            person.client.send("\x03")
            assert "KeyboardInterrupt" in person.wait(">>> ")


def test_an_interruption_that_comes_before_its_thread_has_begun_ends_the_statement_alone(
    reactor: Reactor,
) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        for _ in range(20):
            person.client.send("1\r\x03")
            person.wait(">>> ")
        assert person.say("2") == "2\n"


@pytest.mark.parametrize("leave", [False, True])
def test_a_completion_that_does_not_end_is_stopped_alone(reactor: Reactor, leave: bool) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        person.say("class Endless:", "... ")
        person.say("  def __dir__(self):", "... ")
        person.say("    while True: pass", "... ")
        person.say("")
        person.say("endless = Endless()")
        person.client.send("endless.\t")
        wait_until(reactor, lambda: _running(served) == 1)
        if leave:
            person.client._transport.abort()
            person.wait_for_end()
        else:
            person.client.send("\x03")
            person.wait(">>> ")
        wait_until(reactor, lambda: _running(served) == 0)
        assert served.person().log_in().say("1") == "1\n"


def _running(served: typing.Any) -> int:
    return runner.MAX_RUNNING - int(served.service._slots._free)


def test_endless_output_is_bounded_and_interrupted(reactor: Reactor) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        person.type("while True: print('spam' * 100)")
        person.wait("... ")
        person.client.send("\r")
        person.wait("spamspam")
        person.client._transport.pause_reading()
        for _ in range(50):
            reactor.step(0.01)
        person.client.send("\x03")
        person.client._transport.resume_reading()
        assert "KeyboardInterrupt" in person.wait("KeyboardInterrupt\r\n")
        person.wait(">>> ")
        assert person.say("1") == "1\n"


@pytest.mark.usefixtures("untraced")
def test_a_statement_that_waits_in_c_is_left_behind(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "GRACE", 0.05)
    with console(reactor) as served:
        person = served.person().log_in()
        person.type("import time; print('begun'); time.sleep(3)")
        person.wait("begun\r\n")
        # Time for `print` to return: in it, it could be interrupted.
        later = reactor.time() + 0.3
        wait_until(reactor, lambda: reactor.time() > later)
        person.client.send("\x03")
        person.wait("^C\r\n")
        later = reactor.time() + 0.1
        wait_until(reactor, lambda: reactor.time() > later)
        person.client.send("\x03")
        assert "left behind" in person.wait(">>> ")
        assert person.say("1") == "1\n"
        wait_until(reactor, lambda: _running(served) == 0)


def test_only_so_many_statements_run_at_one_time(reactor: Reactor) -> None:
    with console(reactor) as served:
        people = [served.person().log_in() for _ in range(runner.MAX_RUNNING + 1)]
        for count, person in enumerate(people[:-1]):
            person.type("while True: pass\r")
            wait_until(reactor, lambda count=count: _running(served) == count + 1)  # type: ignore[misc]  # a default
        assert "wait for one to end" in people[-1].say("1")
        people[0].client.send("\x03")
        assert "KeyboardInterrupt" in people[0].wait(">>> ")
        assert people[-1].say("1") == "1\n"


def test_somebody_who_leaves_takes_the_statement_along(reactor: Reactor) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        person.type("while True: print('to nobody')\r")
        person.wait("to nobody")
        person.client._transport.abort()
        person.wait_for_end()
        wait_until(reactor, lambda: _running(served) == 0)


def test_each_session_has_its_own_names_and_output(reactor: Reactor) -> None:
    with console(reactor) as served:
        one, other = served.person().log_in(), served.person().log_in()
        one.say("x = 1")
        assert "NameError" in other.say("x")
        one.type("import time")
        one.wait(">>> ")
        one.type("for i in range(20): print('one'); time.sleep(0.005)\r")
        assert other.say("for i in range(20): print('other')\r").count("other\n") == 20
        one.wait(">>> ")
        assert "other" not in one.text
        assert "one\r\n" not in other.text


def test_sessions_may_share_their_names(reactor: Reactor) -> None:
    with console(reactor, shared=True) as served:
        one, other = served.person().log_in(), served.person().log_in()
        one.say("x = 1")
        assert other.say("x") == "1\n"


def test_the_application_gives_names_and_live_objects_are_looked_at_on_the_loop(reactor: Reactor) -> None:
    with console(reactor, names={"answer": 42}) as served:
        person = served.person().log_in()
        assert person.say("answer") == "42\n"
        assert person.say("reactor.name") == f"{reactor.name!r}\n"
        assert (
            person.say("import threading; threading.get_ident() == on_loop(threading.get_ident)") == "False\n"
        )
        assert person.say("on_loop(service.addresses)") == f"['telnet tcp 127.0.0.1:{served.port}']\n"


def test_a_statement_may_await_what_lives_on_the_loop(reactor: Reactor) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        assert person.say("await reactor.resolve('127.0.0.1')") == "['127.0.0.1']\n"
        person.say("from portable.deferred import Deferred")
        person.type("await Deferred()")
        person.wait("\r\n")
        person.client.send("\x03")
        assert "Cancelled" in person.wait(">>> ")
        assert "ZeroDivisionError" in person.say("await reactor.resolve(1/0)")


def test_statements_run_on_the_loop_where_the_application_says_so(reactor: Reactor) -> None:
    with console(reactor, in_thread=False) as served:
        person = served.person().log_in()
        assert person.say("import threading; threading.get_ident() == on_loop(threading.get_ident)") == "True\n"
        assert "characters more" in person.say("print('x' * 100_000)")
        person.client.send("thr\t")
        person.wait("threading")


def test_completion_where_statements_run(reactor: Reactor) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        person.say("class A:\r    def __dir__(self): print('noise'); return ['attribute', 'attribution']\r")
        person.say("a = A()")
        person.client.send("a.a\t")
        person.wait("a.attribut")
        person.client.send("\t")
        assert "attribute    attribution\r\n" in person.wait(">>> a.attribut")
        assert "noise" not in person.text.rpartition("a = A()")[2]


def test_history_and_editing(reactor: Reactor) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        person.say("first = 1")
        assert person.say("\x1b[A\x01len('\x05')")[-2:] == "9\n"


def test_the_window_is_followed(reactor: Reactor) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        person.client.resize(WindowSize(20, 10))
        person.client.send("x" * 30)
        person.wait("x" * 13)
        person.client.resize(WindowSize(60, 10))
        person.wait("\x1b[J>>> " + "x" * 30)


def test_interrupting_a_line_and_ending_the_session(reactor: Reactor) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        person.say("def f():", "... ")
        person.client.send("junk\x03")
        assert "KeyboardInterrupt" in person.wait("\r\n>>> ")
        assert person.say("1") == "1\n"
        person.client.send("x" * 9000 + "\r")
        assert "is refused" in person.wait("\r\n>>> ")
        person.client.send("\x04")
        person.wait_for_end()


@pytest.mark.parametrize("line", ["quit()", "import sys; sys.exit()", "raise SystemExit", "on_loop(quit)"])
def test_quitting_ends_the_session_and_never_the_server(reactor: Reactor, line: str) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        person.type(line)
        person.wait_for_end()
        assert served.person().log_in().say("1") == "1\n"


def test_the_standard_streams_are_put_back(reactor: Reactor) -> None:
    before = sys.stdout, sys.displayhook
    with console(reactor):
        assert sys.stdout is not before[0]
    assert (sys.stdout, sys.displayhook) == before


# Logging in.


def test_a_wrong_password_costs_time_and_three_the_connection(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits: list[float] = []
    how_long = LoginAttempts.wait

    def wait(attempts: LoginAttempts, peer: Address | str | None) -> float:
        waits.append(how_long(attempts, peer))
        return 0.05

    monkeypatch.setattr("portable.attempts.LoginAttempts.wait", wait)
    with console(reactor) as served, caplog.at_level(logging.INFO, "protocols.telnet"):
        person = served.person()
        for name in ("me", "nobody", "sEcReT"):
            person.wait("login: ")
            person.type(name)
            person.wait("password: ")
            person.type("wrong")
            person.wait("Login incorrect\r\n")
        person.wait("Too many failed logins.\r\n")
        person.wait_for_end()
    assert waits == [1.0, 2.0, 4.0]
    assert "failed login: me from 127.0.0.1" in caplog.text
    # What is no name may be a password.
    assert "sEcReT" not in caplog.text
    assert "wrong" not in caplog.text


def test_a_peer_that_has_failed_too_often_is_not_asked(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portable.attempts.LoginAttempts.refused", lambda *_: True)
    with console(reactor) as served:
        person = served.person()
        person.wait("Too many failed logins.\r\n")
        person.wait_for_end()
        assert "login:" not in person.text


def test_a_login_has_a_time_limit(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_module, "LOGIN_SECONDS", 0.1)
    with console(reactor) as served:
        person = served.person()
        person.wait("It took too long.")
        person.wait_for_end()
        assert person.text.endswith("login: \r\nIt took too long.\r\n")


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_a_login_is_given_up(reactor: Reactor, key: str) -> None:
    with console(reactor) as served:
        person = served.person()
        person.wait("login: ")
        person.client.send(key)
        person.wait_for_end()


def test_a_password_that_is_too_long_is_a_wrong_one(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portable.attempts.LoginAttempts.wait", lambda *_: 0.0)
    with console(reactor) as served:
        person = served.person()
        person.wait("login: ")
        person.type("me\rx" + "x" * 9000)
        person.wait("Login incorrect")


# Stopping.


def test_a_stop_says_so_and_closes(reactor: Reactor) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        served.stop()
        assert person.wait("The server is stopping.\r\n")
        person.wait_for_end()


def test_a_stop_lets_a_statement_end(reactor: Reactor) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        person.type("import time; print('begun'); time.sleep(0.2); print('ended')")
        person.wait("begun\r\n")
        served.stop()
        assert "ended" in person.wait("The server is stopping.\r\n")


def test_a_stop_ends_a_statement_without_end_at_its_deadline(reactor: Reactor) -> None:
    with console(reactor) as served:
        person = served.person().log_in()
        person.type("while True: pass\r")
        wait_until(reactor, lambda: _running(served) == 1)
        served.stop(0.1)
        wait_until(reactor, lambda: _running(served) == 0)
