"""The forecaster, free of any engine: arrays in, arrays out."""
