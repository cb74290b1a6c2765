"""The ratios we promise, each one command: python -m benchmarks.NAME; all: python -m benchmarks.

Every figure is a ratio within one run, since machines are noisy and shared: both sides are measured
in turn, several times, and the medians are divided.
"""
