"""Reactors: what turns the interfaces of `portable` into sockets."""
