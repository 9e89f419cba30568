"""Programs to start from; they import nothing of ours, so that they can be copied."""
