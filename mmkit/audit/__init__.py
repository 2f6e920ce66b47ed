"""Membership inference: how well an attacker can tell which rows a model was trained on."""

from mmkit.audit.run import Audit, audit

__all__ = ["Audit", "audit"]
