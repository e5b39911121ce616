"""The core: interfaces, Deferred, timers, framing, services, .tap files and the commands."""
