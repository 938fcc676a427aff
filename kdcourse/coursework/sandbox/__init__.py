"""Run students' code where it can neither read nor change anything, and observe it from outside."""

from kdcourse.coursework.sandbox.sandbox import Limits, Lost, Sandbox, available

__all__ = ["Limits", "Lost", "Sandbox", "available"]
