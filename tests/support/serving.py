"""Images of uncompressed layers in a registry of the test's own."""

from __future__ import annotations

from support.rogue_registry import CONFIG, LAYER, Parts, RogueRegistry, descriptor, digest_of


def serve(registry: RogueRegistry, name: str, trees: list[bytes]) -> str:
    """An image of these layers, uncompressed; its name."""
    config = Parts(rootfs={"type": "layers", "diff_ids": list(map(digest_of, trees))}).config
    for blob in (*trees, config):
        registry.blob(name, blob)
    layers = [descriptor(LAYER.removesuffix("+gzip"), tree) for tree in trees]
    registry.manifest(name, "1", {**Parts().manifest, "config": descriptor(CONFIG, config), "layers": layers})
    return f"{registry.address}/{name}:1"
