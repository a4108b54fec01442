"""PANTRY: references, registries, manifests."""
