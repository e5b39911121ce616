"""The distributed web: a server that passes requests on to others, which answer them with their owners' rights.

The relay (`users`, `relay`, `view`) speaks HTTP with the world, and Perspective Broker with the publishers; a
publisher (`publisher`) renders what it is asked for. What they say to each other (`forms`, `cookies`) is what
Twisted's distributed web says too.
"""

from __future__ import annotations

from protocols.servers.web.distributed.publisher import publishing_broker
from protocols.servers.web.distributed.relay import Relay
from protocols.servers.web.distributed.users import UserDirectory

__all__ = ["Relay", "UserDirectory", "publishing_broker"]
