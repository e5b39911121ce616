"""Servers under load for minutes, and what they keep of it: see ci/soak."""
