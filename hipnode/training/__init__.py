"""Training and evaluation: recipes, manifests, a plain loop, the papers' statistics."""
