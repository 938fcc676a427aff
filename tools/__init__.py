"""Commands for the course's authors; not part of what is installed."""
