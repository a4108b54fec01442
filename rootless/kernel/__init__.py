"""System calls, processes, files. Standard library only."""
