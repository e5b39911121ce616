"""The CPython reactor, over the system's selector: epoll, kqueue, poll or plain select."""

from __future__ import annotations

from backends.select.reactor import SelectReactor

__all__ = ["SelectReactor"]
