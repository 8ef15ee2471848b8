"""The domain: meters, readings, weather and forecasts, and their wire format."""
