"""Carries what the topics hold into Postgres and Redis."""
