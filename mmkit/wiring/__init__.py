"""spec + registry → a plan of named nodes; every wiring error at once, before any weight is read."""
