"""The page where the distilled student answers in the reader's browser."""
