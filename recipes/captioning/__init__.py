"""Pictures to captions: the stamps of Tux Paint, and emoji in two art styles."""
