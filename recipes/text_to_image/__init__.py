"""Words to pictures on Fashion-MNIST."""
