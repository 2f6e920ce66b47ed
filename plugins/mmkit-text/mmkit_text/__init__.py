"""Text for mmkit: vocabularies and backbones."""
