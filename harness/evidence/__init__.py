"""Sources of clock evidence, one file each."""
