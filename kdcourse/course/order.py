"""The order of the lessons, which also gives their numbers: the first is lesson 00."""

from __future__ import annotations

# A new lesson is a folder beside this file and its name in this list.
ORDER = (
    "start_here",
    "why_compress",
    "train_a_teacher",
    "ensembles",
    "soft_targets",
    "distil",
    "evaluate",
    "segmentation",
    "beyond_logits",
    "ship",
    "language",
)
