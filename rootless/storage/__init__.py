"""Layers, overlay drivers, root file systems, volumes."""
