"""Where weather comes from: a replayed file or a provider."""
