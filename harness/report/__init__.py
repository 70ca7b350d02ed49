"""A result as people read it: terminal, PDF, plots."""
