"""The one error of the data scripts; ``report.main`` shows its text without a traceback."""


class RecipeError(Exception):
    """Data or weights cannot be had; the text says what, why, and what to do."""
