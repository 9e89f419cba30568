"""The city dispatch problem: its data, its reference model and its independent checker."""
