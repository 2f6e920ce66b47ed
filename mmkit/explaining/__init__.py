"""Why a model gave an answer: what in its inputs made it."""
