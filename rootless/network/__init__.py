"""GATE: network drivers, ports, name resolution."""
