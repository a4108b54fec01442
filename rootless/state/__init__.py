"""RECORDS: container and volume records, locks, events."""
