"""Scoring of table models in NumPy and SciPy alone. Nothing here imports torch."""
