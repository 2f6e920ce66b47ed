"""What the recipes' data scripts share: cache, fetching, splitting, drawing, speaking, weights, baselines."""
