"""What a bundle and a model set are, checked without building a network."""
