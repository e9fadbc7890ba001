"""The desk: what happens in the node, seen by those who answer for it.

Pages made here, without a script, for people in a browser. `routes` has the one table of who may
see what; `app` holds everybody to it, and puts each look at a patient's data on the audit log
before the first byte of the answer leaves.
"""
