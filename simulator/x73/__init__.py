"""IEEE 11073-20601 agents with a measuring person behind them: `stafet-sim agent`."""
