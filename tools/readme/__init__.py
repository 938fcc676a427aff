"""Write the derived parts of README.md and benchmarks/README.md: ``python -m tools.readme``."""
