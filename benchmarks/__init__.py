"""Measurements: `benchmarks/peers.py` is about behaviour, the rest about speed."""
