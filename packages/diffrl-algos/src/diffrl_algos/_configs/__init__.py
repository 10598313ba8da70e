"""Configurations of algorithms that exist in more than one framework; nothing here imports an array library."""
