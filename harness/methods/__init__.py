"""How readings are taken: one file for each procedure."""
