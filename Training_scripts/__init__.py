"""Simulates, trains and compares: what runs beside the stream."""
