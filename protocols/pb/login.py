"""Logging in to a server of Perspective Broker, as Twisted's servers and clients do.

    client: root.login(name)                    server: (challenge, challenger)
    client: challenger.respond(proof, mind)     server: an object of the user's, the avatar
    client: root.loginAnonymous(mind)           server: an avatar for anybody

The proof is MD5(MD5(password) + challenge), all digests as bytes. This keeps the password off the wire, and
that is all: who listens can try words against a proof, and the server must keep MD5(password), which is as
good as the password here. On a network use it within TLS. A mind is an object of the client's that the avatar
may call, or None.

Not spoken: the login of before 2003, where the root had a method for each user's name.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import typing

from portable.deferred import Deferred, ensure_deferred, fail
from protocols.pb.failures import Error
from protocols.pb.jelly import InsecureJelly
from protocols.pb.references import Referenceable, RemoteReference

if typing.TYPE_CHECKING:
    from portable.attempts import LoginAttempts
    from portable.clock import Clock
    from portable.transport import Address

    # Gives MD5(password) of a user, None if there is none of that name.
    FindKey = typing.Callable[[str], bytes | None]
    # Makes the avatar of a user who has logged in ("" for anybody), given the mind; now or later.
    MakeAvatar = typing.Callable[[str, object], object]

__all__ = ["LoginRoot", "Unauthorized", "log_in", "log_in_anonymously", "password_key"]

CHALLENGE = 16  # bytes
MAX_NAME = 256  # characters


class Unauthorized(Error):
    """The name or the password is wrong, or nobody may log in so."""

    wire_name = "twisted.cred.error.UnauthorizedLogin"


def password_key(password: bytes) -> bytes:
    """Return what a server keeps of a password for this login. As secret as the password itself."""
    return _md5(password)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def log_in(root: RemoteReference, name: str, password: bytes, mind: object = None) -> Deferred[RemoteReference]:
    """Log in as a user, and give the avatar.

    Fails with RemoteError of the class "twisted.cred.error.UnauthorizedLogin" if name or password is wrong,
    with InsecureJelly if the server answers anything else than it should.
    """
    return ensure_deferred(_log_in(root, name, password, mind))


async def _log_in(root: RemoteReference, name: str, password: bytes, mind: object) -> RemoteReference:
    offer: object = await root.call_remote("login", name.encode("utf-8"))
    if not isinstance(offer, tuple) or len(offer) != 2:
        raise InsecureJelly("no challenge and challenger")
    challenge, challenger = offer
    if not isinstance(challenge, bytes) or not isinstance(challenger, RemoteReference):
        raise InsecureJelly("no challenge, or no challenger")
    proof = _md5(password_key(password) + challenge)
    avatar: object = await challenger.call_remote("respond", proof, mind)
    return _avatar(avatar)


def log_in_anonymously(root: RemoteReference, mind: object = None) -> Deferred[RemoteReference]:
    """Log in as nobody in particular, and give the avatar. Fails as `log_in`."""
    return root.call_remote("loginAnonymous", mind).add_callback(_avatar)


def _avatar(value: object) -> RemoteReference:
    if not isinstance(value, RemoteReference):
        raise InsecureJelly("no avatar")
    return value


class LoginRoot(Referenceable):
    """The root of a server whose users log in. One for each connection.

    Args:
        clock: for making guesses wait.
        find_key: see `FindKey`.
        make_avatar: see `MakeAvatar`.
        attempts: shared by all connections of the server.
        peer: tells who is at the other end.
        anonymous: whether anybody may log in without a name.
    """

    def __init__(
        self,
        clock: Clock,
        find_key: FindKey,
        make_avatar: MakeAvatar,
        attempts: LoginAttempts,
        peer: typing.Callable[[], Address | str | None],
        *,
        anonymous: bool = False,
    ) -> None:
        self._clock = clock
        self._find_key = find_key
        self._make_avatar = make_avatar
        self._attempts = attempts
        self._peer = peer
        self._anonymous = anonymous

    def remote_login(self, name: object) -> tuple[bytes, Referenceable]:
        """Give a challenge, whoever it is for."""
        text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
        if not isinstance(text, str) or len(text) > MAX_NAME:
            raise Unauthorized("that cannot be a name")
        challenge = secrets.token_bytes(CHALLENGE)
        return challenge, _Challenger(self, text, challenge)

    def remote_loginAnonymous(self, mind: object) -> object:
        """Give an avatar to anybody."""
        if not self._anonymous:
            raise Unauthorized("a name is needed")
        return self._make_avatar("", mind)

    def check(self, name: str, challenge: bytes, proof: object, mind: object) -> object:
        """Give the avatar if the proof is right; otherwise fail, the later the more often that has happened."""
        peer = self._peer()
        if self._attempts.refused(peer):
            return fail(Unauthorized("too many failures"))
        # Names that are not known take as long.
        key = self._find_key(name)
        expected = _md5((key or b"") + challenge)
        if isinstance(proof, bytes) and hmac.compare_digest(proof, expected) and key is not None:
            self._attempts.succeeded(peer)
            return self._make_avatar(name, mind)
        self._attempts.failed(peer)
        answer: Deferred[None] = Deferred()
        timer = self._clock.call_later(self._attempts.wait(peer), answer.callback, None)
        return answer.add_callbacks(_refuse, lambda error: _give_up(timer.cancel, error))


def _refuse(_: None) -> typing.NoReturn:
    raise Unauthorized("the name or the password is wrong")


def _give_up(cancel: typing.Callable[[], object], error: Exception) -> typing.NoReturn:
    cancel()
    raise error


class _Challenger(Referenceable):
    """Takes one proof."""

    def __init__(self, root: LoginRoot, name: str, challenge: bytes) -> None:
        self._root: LoginRoot | None = root
        self._name = name
        self._challenge = challenge

    def remote_respond(self, proof: object, mind: object) -> object:
        """Give the avatar if the proof is right."""
        root, self._root = self._root, None
        if root is None:
            raise Unauthorized("a challenge is good for one answer")
        return root.check(self._name, self._challenge, proof, mind)
