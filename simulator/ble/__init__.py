"""Bluetooth LE devices: what they are (`devices`), how they behave (`instrument`), and their way out (`bluez`)."""
