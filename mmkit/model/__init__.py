"""The assembled model: build, forward over the packed stream, generation, checkpoints."""
