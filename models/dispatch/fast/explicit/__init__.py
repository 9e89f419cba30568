"""The city problem as plain sparse arrays in HiGHS: large single units, small fleets, and the yardstick."""
