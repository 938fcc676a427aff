"""Build the course's website from the lessons, the docstrings and the repository's texts."""
