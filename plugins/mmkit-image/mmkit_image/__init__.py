"""Images for mmkit: decoding, timm and transformers towers, a small network to learn from scratch, and codecs."""
