"""Servers built on the wire protocols, one module or package for each kind."""
