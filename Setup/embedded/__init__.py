"""Kafka, PostgreSQL and Valkey as child processes, and the pipeline on top of them."""
