"""Every system of the papers trained and judged alike, in one table."""
