"""Guessing passwords made slow: what a server remembers of the peers that failed to log in."""

from __future__ import annotations

import collections
import typing
from dataclasses import dataclass

from portable.peers import peer_key

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from portable.transport import Address

__all__ = ["FORGET", "MAX_FAILURES", "MAX_PEERS", "LoginAttempts"]

# Failures of one peer after which it is refused until FORGET seconds have passed without another. A person who
# has forgotten a password gives up sooner; offices share an address, so it is not three.
MAX_FAILURES = 20
# Seconds after which a peer's failures are forgotten.
FORGET = 600.0
# Peers remembered; of more, those whose last failure is longest ago are forgotten. About 100 bytes each.
MAX_PEERS = 10_000
# Seconds before the answer to the first failure, and the most that the doubling comes to.
FIRST_DELAY = 1.0
MOST_DELAY = 16.0


@dataclass(slots=True)
class _Failures:
    count: int
    last: float  # on the clock


class LoginAttempts:
    """Counts failed logins by peer: one IPv4 address, or one /64 of IPv6. All connections of a server share it.

    Args:
        clock: tells when to forget.
        most: failures after which a peer is refused.
    """

    def __init__(self, clock: Clock, most: int = MAX_FAILURES) -> None:
        self._clock = clock
        self._most = most
        # The one whose last failure is longest ago is first.
        self._peers: collections.OrderedDict[str, _Failures] = collections.OrderedDict()

    def wait(self, peer: Address | str | None) -> float:
        """Return how many seconds to wait before telling `peer` that its login failed.

        0 if none has failed; 1 after the first `failed`, then 2, 4... up to 16.
        """
        failures = self._of(peer)
        return 0.0 if failures is None else min(MOST_DELAY, FIRST_DELAY * 2 ** min(failures.count - 1, 10))

    def refused(self, peer: Address | str | None) -> bool:
        """Return whether `peer` has failed so often that no password of it is looked at any more."""
        failures = self._of(peer)
        return failures is not None and failures.count >= self._most

    def failed(self, peer: Address | str | None) -> None:
        """Remember a failure of `peer`."""
        failures = self._of(peer)
        count = 1 if failures is None else failures.count + 1
        self._peers[peer_key(peer)] = _Failures(count, self._clock.time())
        self._peers.move_to_end(peer_key(peer))
        if len(self._peers) > MAX_PEERS:
            self._peers.popitem(last=False)

    def succeeded(self, peer: Address | str | None) -> None:
        """Forget the failures of `peer`.

        Somebody who has an account could so go on guessing another's; that account's owner would then be known.
        """
        self._peers.pop(peer_key(peer), None)

    def _of(self, peer: Address | str | None) -> _Failures | None:
        key = peer_key(peer)
        failures = self._peers.get(key)
        if failures is not None and self._clock.time() - failures.last >= FORGET:
            del self._peers[key]
            return None
        return failures
