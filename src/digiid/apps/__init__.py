"""Composition roots: what is built from which parts, and the command line."""
