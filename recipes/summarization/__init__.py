"""Descriptions of Debian packages to their one-line synopses."""
