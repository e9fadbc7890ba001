"""From verified files to models that have reproduced their golden output."""
