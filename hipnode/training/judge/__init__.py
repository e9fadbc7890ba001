"""How good a bundle is: figures with intervals, heat maps, doubtful labels."""
