"""Build what authors maintain: the website and the tables in the README files. Not part of the wheel."""
