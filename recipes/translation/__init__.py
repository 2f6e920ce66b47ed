"""English to Italian: the one-line synopses of Debian packages."""
