"""What ``mmkit doctor`` looks at: small checks over facts, and how the facts are found. This process imports no torch."""

from mmkit.doctor.finding import Finding
from mmkit.doctor.run import examine

__all__ = ["Finding", "examine"]
