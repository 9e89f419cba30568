"""The service: one module per stage of the flow, and two doors to them (command line and HTTP)."""
