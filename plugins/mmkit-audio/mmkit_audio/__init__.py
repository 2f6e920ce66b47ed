"""Sound for mmkit: decoding, log-mel, a Conformer to learn from scratch, the audio encoders of transformers, and codecs."""
