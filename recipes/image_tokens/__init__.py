"""A picture tokenizer on Fashion-MNIST."""
