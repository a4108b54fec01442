"""rpod: a rootless container engine for one ordinary user, without a daemon."""

__version__ = "0.1.0"
