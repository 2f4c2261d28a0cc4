"""Bluetooth LE: from the adapter to the outbox.

`radio` is the seam; `bleak_radio` stands behind it in a home, `fake_radio` in tests. `collect` says when, `session` and
`flows` say how. `edge.bluez` is the door to what bleak has not: pairing, adapters, our own time service.
"""
