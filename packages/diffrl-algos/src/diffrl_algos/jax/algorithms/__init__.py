"""Algorithms in JAX: a file for each, under the name that it has in torch."""
