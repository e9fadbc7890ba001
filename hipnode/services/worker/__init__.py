"""The worker: reads images and makes reports, one job after the other, never twice.

`service` is the loop, `reports` decides what a study's report is and where it goes, `pool` holds
the reading processes, and `reader` is what runs in them.
"""
