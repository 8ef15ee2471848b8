"""Replays or takes in smart-meter readings and publishes them to Kafka."""
