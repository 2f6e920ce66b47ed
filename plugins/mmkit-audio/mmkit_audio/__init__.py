"""Sound for mmkit: decoding, log-mel, a Conformer to learn from scratch, and the audio encoders of transformers."""
