"""The contract between every hub and every bridge: bytes <-> values.

Nothing here does I/O, reads a clock, logs or draws random numbers; time is always an argument. Bytes that do not
follow the contract raise one of the errors in `wire.errors` and nothing else.
"""
