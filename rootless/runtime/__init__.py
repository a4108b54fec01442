"""WORKSHOP: an OCI runtime-spec becomes a process."""
