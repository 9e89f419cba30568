"""The far side of the wire: simulated devices, scenarios, faults, virtual time."""
