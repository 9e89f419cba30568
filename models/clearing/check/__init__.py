"""The independent checker of a clearing: no solver, nothing of what it checks but the types."""
