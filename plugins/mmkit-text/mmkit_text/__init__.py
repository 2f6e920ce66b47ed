"""Text for mmkit: vocabularies, encoders and backbones."""
