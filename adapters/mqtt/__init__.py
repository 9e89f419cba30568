"""MQTT: registrations, readings and acknowledgements in, events and setpoints out (README.md shows the contract)."""
