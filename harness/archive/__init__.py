"""Results folders: written once, verified by anyone."""
