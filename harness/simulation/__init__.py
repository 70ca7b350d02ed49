"""The simulated metro: namespaces, fibres, clocks with known error."""
