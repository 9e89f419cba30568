"""What was delivered, against what would have been: baselines and performance."""
