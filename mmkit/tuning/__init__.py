"""Hyperparameter search over any path of a spec, by Optuna: ``mmkit.tune``."""
