"""Sockets, pipes and threads of the operating system, for every reactor that runs on CPython.

A reactor that can tell when descriptors are ready (see `backends.sockets.reactor`) gets its connections,
listeners, datagrams, names, threads and child processes from here, and so behaves as the others do.
"""
