"""The simulator's parts: places, weather, buildings, loads, anomalies and the files that hold them."""
