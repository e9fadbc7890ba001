"""The processes of a node. They meet only in the database; each can run alone.

`listener` takes images in, `worker` reads them and makes reports, `courier` sends the reports out,
`housekeeper` keeps time. `supervisor` runs all four as one, and `demo` shows the whole way.
"""
