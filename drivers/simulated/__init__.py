"""A laboratory of simulated instruments that speak as the real ones do."""
