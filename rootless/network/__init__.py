"""Network drivers, ports, name resolution."""
