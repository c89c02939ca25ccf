"""Benchmarks of every op and of the whole stream, against the machine's floors and the best libraries."""
