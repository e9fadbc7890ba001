"""What the desk asks and keeps: who is signed in, studies and records by the page, proofs."""
