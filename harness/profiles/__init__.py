"""Acceptance profiles: limits with their sources, one TOML file each."""
