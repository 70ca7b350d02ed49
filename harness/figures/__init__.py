"""What readings come to: one file for each procedure, pure."""
