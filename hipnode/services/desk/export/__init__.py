"""What an exported study carries besides its data: how to check it, for people and for Python."""
