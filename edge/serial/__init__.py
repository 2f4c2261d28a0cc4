"""Devices on serial lines: `port` is the door to pyserial, `lines` reads what is listed into the outbox."""
