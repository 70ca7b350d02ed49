"""Instruments, usable without the harness."""
