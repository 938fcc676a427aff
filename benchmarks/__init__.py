"""Measure speed and memory side by side with other ways to do the same; see README.md here."""
