"""Many connections in one process, each of which asks once and stays: `idle_client.py PORT COUNT`.

Says "open" when all have their answer; for each line of standard input asks again on some of them and says
the slowest answer in seconds; at the end of standard input closes them all and says "closed".
"""

from __future__ import annotations

import socket
import sys
import time

REQUEST = b"GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = b"\r\n\r\n<h1>hello</h1>"


def ask(peer: socket.socket) -> float:
    """Send a request, wait for the whole answer and return the seconds that it took."""
    start = time.perf_counter()
    peer.sendall(REQUEST)
    answer = b""
    while not answer.endswith(BODY):
        part = peer.recv(65536)
        if not part:
            raise SystemExit(f"a connection was closed after {answer!r}")
        answer += part
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"the answer was {answer!r}")
    return time.perf_counter() - start


def say(text: str) -> None:
    """Tell whoever started us."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    port, count = int(sys.argv[1]), int(sys.argv[2])
    peers = []
    for _ in range(count):
        peer = socket.create_connection(("127.0.0.1", port), 20)
        ask(peer)
        peers.append(peer)
    say("open")
    for _ in sys.stdin:
        say(str(max(ask(peer) for peer in peers[:: max(1, count // 20)])))
    for peer in peers:
        peer.close()
    say("closed")


if __name__ == "__main__":
    main()
