"""The course's website: pages from the lessons, the docstrings and the repository's own texts."""
