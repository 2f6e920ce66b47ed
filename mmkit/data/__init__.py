"""Files → ragged batches: sources, preparation in workers, mixtures, bad rows."""
