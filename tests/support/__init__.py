"""What tests and the bench share: a shell for rpod, a small image, a registry on loopback."""
