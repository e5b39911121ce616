"""Benchmarks: what a server spends on a unit of work, as a ratio to its peers measured in the same run."""
