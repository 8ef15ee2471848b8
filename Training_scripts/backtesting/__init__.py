"""What ``energy-backtest`` is made of: a plan, forecasts at past origins, their scores, and a report."""
