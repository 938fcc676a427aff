"""For authors: from the lessons' sources to the notebooks that learners open."""
