"""Forecasts every meter, site and the grid when an hour closes."""
