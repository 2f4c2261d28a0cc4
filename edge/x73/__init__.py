"""IEEE 11073-20601: agents on all transports, into the outbox (`agents`) or as lines at a bench (`bench`).

Transport (`tcp`, `serial`, `usb`, `hdp`) -> `pump` -> `association` -> `wire.x73`.
"""
