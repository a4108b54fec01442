"""Container and volume records, locks, events."""
