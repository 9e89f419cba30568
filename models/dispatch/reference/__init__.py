"""The reference model: Pyomo blocks written like the paper. It is the specification of everything faster."""
