"""The classic LSTM sentiment classifier on rated movie-review snippets."""
