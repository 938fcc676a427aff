"""What authors of the course use; it is not part of the installed package."""
