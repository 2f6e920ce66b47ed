"""Audio for mmkit: decoding and encoders."""
