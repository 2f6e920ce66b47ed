"""Where the time and memory of a training go, component by component: ``mmkit profile``."""
