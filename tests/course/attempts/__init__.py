"""Answers to the exercises by independent hands: one module per exercise, named after it.

``RIGHT`` lists right answers. ``WRONG`` maps a few words on what is wrong to a wrong answer. Neither was written from
the exercise's own mistakes, so that the probes are tested, not repeated. ``SAYS`` (optional) maps the words of some
wrong answers to what the message must contain.
"""
