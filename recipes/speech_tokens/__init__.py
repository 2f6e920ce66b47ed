"""A codec of speech from scratch: log-mel frames as a few codes a second, and back to a sound that can be understood."""
