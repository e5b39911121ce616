"""Our errors, results and TLS options in asyncio's words, and the other way."""

from __future__ import annotations

import errno
import socket
import ssl
import typing

from portable.errors import CertificateError, NameNotFound, TLSError, TransportError
from portable.tls import TLSOptions, context_options

if typing.TYPE_CHECKING:
    import asyncio

    from portable.deferred import Deferred

__all__ = ["future_of", "system_error", "tls_options"]

T = typing.TypeVar("T")


def system_error(error: BaseException | None) -> BaseException | None:
    """Return what an asyncio program expects to catch in the place of `error`: an OSError for what the network
    said, made from the errno, so that a reset is a ConnectionResetError; anything else stays as it is.
    """
    if not isinstance(error, TransportError):
        return error
    translated: OSError
    if isinstance(error, NameNotFound):
        translated = socket.gaierror(socket.EAI_NONAME, str(error))
    elif isinstance(error, CertificateError):
        translated = ssl.SSLCertVerificationError(1, str(error))
    elif isinstance(error, TLSError):
        translated = ssl.SSLError(1, str(error))
    else:
        translated = OSError(getattr(errno, error.code, errno.EIO), str(error))
    translated.__cause__ = error
    return translated


def future_of(loop: asyncio.AbstractEventLoop, deferred: Deferred[T]) -> asyncio.Future[T]:
    """Return a future of `loop` with the outcome of `deferred`. Cancelling it cancels that."""
    future: asyncio.Future[T] = loop.create_future()

    def succeed(result: T) -> None:
        if not future.done():
            future.set_result(result)

    def fail(error: Exception) -> None:
        if future.done():
            return
        if isinstance(error, StopIteration):  # which no future takes
            future.set_exception(RuntimeError("StopIteration cannot be raised by await"))
        else:
            future.set_exception(system_error(error) or error)

    def cancel(done: asyncio.Future[T]) -> None:
        if done.cancelled():
            deferred.cancel()

    deferred.add_callbacks(succeed, fail)
    future.add_done_callback(cancel)
    return future


def tls_options(given: object, *, server_side: bool, server_name: str = "") -> TLSOptions | None:
    """Return the options for what a program gave as `ssl`: an SSLContext, our own TLSOptions, True or None.

    Raises:
        TypeError: it is something else.
    """
    if given is None or given is False:
        return None
    if isinstance(given, TLSOptions):
        if given.server_side != server_side:
            raise ValueError("these TLSOptions are for the other side")
        return given
    if given is True and not server_side:
        given = ssl.create_default_context()
    if isinstance(given, ssl.SSLContext):
        return context_options(given, server_side=server_side, server_name=server_name)
    raise TypeError(f"ssl must be an ssl.SSLContext or portable.tls.TLSOptions, not {type(given).__name__}")
