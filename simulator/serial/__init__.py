"""Serial devices on ptys: `stafet-sim serial`."""
