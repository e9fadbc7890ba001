"""The loop, its losses and its state."""
