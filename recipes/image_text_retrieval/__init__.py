"""Pictures and captions found by each other: stamps and emoji."""
