"""Settlement rules as data: one table of named, versioned rules (``rules.toml``), and one evaluator for all of them."""
