"""What is known about patients beside the image: read as it comes, checked, kept."""
