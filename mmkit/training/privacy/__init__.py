"""Differentially private training: the budget of a run, and the gradient of a step."""
