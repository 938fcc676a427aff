"""Students' code runs here, where it can neither see nor change anything, and what it does is seen from outside."""

from kdcourse.coursework.sandbox.sandbox import Limits, Lost, Sandbox, available

__all__ = ["Limits", "Lost", "Sandbox", "available"]
