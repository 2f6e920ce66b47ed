"""Images for mmkit: decoding, timm and transformers towers, and a small network to learn from scratch."""
