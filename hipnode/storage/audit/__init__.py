"""The audit log: rows that are only ever added, sealed in batches, counted by day."""
