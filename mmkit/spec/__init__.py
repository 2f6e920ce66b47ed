"""YAML, JSON or dict → a validated spec with located messages. Never imports torch."""
