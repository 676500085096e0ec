"""The benchmark: ``python -m tests.bench`` measures what "fast" means here, side by side in one run.

Every figure is a ratio between the adapter and a plain program that does the same work on the same
machine in the same minutes. Nothing here asserts: a machine that is busy makes no test fail.
"""
