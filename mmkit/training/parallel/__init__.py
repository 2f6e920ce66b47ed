"""Several processes of one run.

``ranks``: who they are and what they agree on; ``lost``: what is said when one of them stops; ``shares``: what each does
of a step; ``engines`` and ``sharded``: whose weights and gradients are where; ``gradients``: norms over all of them.
"""
