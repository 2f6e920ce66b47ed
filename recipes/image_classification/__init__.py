"""A CNN on Fashion-MNIST."""
