"""Commands for the course's authors: lessons, website, tables, margins. Not part of the wheel."""
