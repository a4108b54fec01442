"""Where images come from and go to: archives, directories, registries, the store (``containers-transports(5)``)."""
