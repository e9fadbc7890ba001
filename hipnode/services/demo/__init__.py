"""The demo: a node and an archive that live as long as it runs."""
