"""One-dimensional signals for mmkit, written for plugin API 1 and frozen."""
