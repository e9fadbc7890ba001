"""What keeps files and rows in step: what is old goes, what does not fit is set aside."""
