"""Perspective Broker: objects that call each other's methods over a connection."""

from __future__ import annotations

from protocols.pb.broker import Broker, DeadReference
from protocols.pb.failures import Error, NoSuchMethod, RemoteError
from protocols.pb.jelly import InsecureJelly, Unpersistable
from protocols.pb.references import Referenceable, RemoteReference
from protocols.pb.registry import Registry

__all__ = [
    "Broker",
    "DeadReference",
    "Error",
    "InsecureJelly",
    "NoSuchMethod",
    "Referenceable",
    "Registry",
    "RemoteError",
    "RemoteReference",
    "Unpersistable",
]
