"""Where images and results lie: on a disk, or in a bucket of objects."""
