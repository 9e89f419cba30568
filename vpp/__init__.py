"""The service: one module per stage of the flow, and three doors (command line, HTTP, console)."""
