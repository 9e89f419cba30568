"""Domain, equations and money of the virtual power plant: pure functions and types, no I/O and no clock."""
