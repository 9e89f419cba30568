"""Baselines as a table of named, versioned methods: the rules are data, and each family has one small evaluator."""
