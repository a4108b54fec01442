"""References, registries, manifests."""
