"""Training in stages on Hugging Face Trainer, and evaluation."""
