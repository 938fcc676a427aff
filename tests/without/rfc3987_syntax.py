"""Stand in for a package of this name in every process of the tests: importing it takes over a second.

jsonschema, and so nbformat and all of Jupyter, imports it to check IRIs where it is installed, and does without where
this fails. No schema that Jupyter uses has an IRI.
"""

raise ImportError("left out of tests to save time: see tests/without")
