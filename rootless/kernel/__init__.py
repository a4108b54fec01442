"""FOUNDATION: system calls, processes, files. Standard library only."""
