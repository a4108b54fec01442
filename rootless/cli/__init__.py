"""PORCH: commands, options and what is printed."""
