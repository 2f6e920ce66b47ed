"""Emoji: picture, spoken name, English and German name, and skin tone; the data of ``make demo``."""
