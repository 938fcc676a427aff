"""What the lessons are made with, and the way from their source to the notebooks that learners open.

A lesson imports `claim`, `show` and `show_here`. `source` reads what authors write, `build` makes notebooks of it,
`lab` opens them.
"""

from kdcourse.lessons.claims import at_least, at_most, between, claim
from kdcourse.lessons.showing import show, show_here

__all__ = ["at_least", "at_most", "between", "claim", "show", "show_here"]
