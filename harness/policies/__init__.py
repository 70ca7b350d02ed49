"""Requirements as versioned data, one TOML file a policy."""
