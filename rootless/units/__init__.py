"""Quadlet files become systemd user units: text in, text out; nothing here starts anything."""
