"""Make the page on which the distilled student runs in the reader's browser."""
