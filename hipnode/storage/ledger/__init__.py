"""The truth about the work: jobs, what arrived, what is due, what was promised and delivered."""
