"""One model in four directions: picture to word, word to picture, speech to text, text to speech."""
