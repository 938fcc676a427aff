"""Run students' code where it can neither read nor change anything, and observe it from outside."""

from kdcourse.coursework.sandbox.sandbox import BROKEN, Limits, Lost, Sandbox, available

__all__ = ["BROKEN", "Limits", "Lost", "Sandbox", "available"]
