"""Acceptance of every kind of server on every runtime, by what real clients get from it."""
