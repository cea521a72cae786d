"""Measurements: `python -m benchmarks.run` is about speed, `benchmarks/peers.py` about behaviour."""
