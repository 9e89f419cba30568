"""MQTT: setpoints out, acknowledgements and readings in."""
