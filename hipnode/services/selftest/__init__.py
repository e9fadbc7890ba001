"""The node's test of its own way: a phantom goes to the PACS, and its report must come back."""
