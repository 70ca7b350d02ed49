"""The timestamping core."""
