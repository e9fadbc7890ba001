"""The ways to a destination, one file each."""
