"""Features of frozen encoders and ids of codecs on disk: computed once, memory-mapped, shared by workers, processes and runs.

One folder an encoder (``encoder.json`` says which), holding append-only segments, one writer each. ``folder`` is all
that lists, measures, clears and makes room, without torch; ``segment`` and ``index`` read and write; ``store`` is the
cache of one encoder, ``codes`` of one codec; ``fingerprint`` tells them apart; ``use`` switches caches on for a stage or an evaluation.
"""
