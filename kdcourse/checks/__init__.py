"""The engine that tells whether an answer is right, and which known mistake it looks like.

It holds no lesson's content: `kdcourse.course` has the exercises. From left to right, each file imports only what
stands before it: exercise, outcomes, compare, observe, judge, vary. `probes` and `fixtures` serve those who write
exercises.
"""

from __future__ import annotations

from kdcourse.checks.exercise import Exercise, Mistake, Probe, Verdict
from kdcourse.checks.judge import judge
from kdcourse.checks.observe import observe
from kdcourse.checks.vary import varied

__all__ = ["Exercise", "Mistake", "Probe", "Verdict", "judge", "observe", "varied"]
