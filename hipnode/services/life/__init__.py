"""Whether a service lives: what each of them does beside its work, and who is told."""
