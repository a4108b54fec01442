"""CELLAR: layers, overlay drivers, root file systems, volumes."""
