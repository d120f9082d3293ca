"""Benchmarks: each states its input and prints its figures; docs/benchmarks.md keeps them."""
