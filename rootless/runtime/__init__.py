"""An OCI runtime-spec becomes a process."""
