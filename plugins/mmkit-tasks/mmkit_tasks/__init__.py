"""Tasks for mmkit: heads."""
