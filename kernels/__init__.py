"""Kernel sources of the ops, and their float64 reference; nothing here imports the rest of the project."""
