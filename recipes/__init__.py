"""Runnable recipes: each folder is a spec, a data script (``python -m recipes.<name>.prepare``) and measured results."""
