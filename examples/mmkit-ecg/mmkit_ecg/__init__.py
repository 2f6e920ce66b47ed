"""Electrocardiograms for mmkit."""
