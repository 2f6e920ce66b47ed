"""Tasks for mmkit: heads, adapters and metrics."""
