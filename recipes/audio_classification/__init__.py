"""Mandarin tones, trained on one recording of each syllable and tested on another."""
