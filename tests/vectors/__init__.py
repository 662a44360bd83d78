"""Vectors that other people published, against our own entry points. Every deviation is listed with id and reason."""
