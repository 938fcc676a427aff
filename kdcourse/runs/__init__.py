"""The whole story: trained teachers, searched and recorded students, the run and its report."""
