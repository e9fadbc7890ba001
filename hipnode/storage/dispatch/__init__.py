"""Who runs what next: a loop on SQLite, procrastinate on PostgreSQL. The ledger decides."""
