"""A node is attacked on its own machine, in a folder and a database of its own."""
