"""One file per op, named after it: what it is compared with, and what its roles hold. See ``op_benchmark.py``."""
