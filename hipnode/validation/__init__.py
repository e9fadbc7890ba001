"""How good the node is on a site's own images: its whole chain against labels, as one page.

Nothing here decides anything about an image: `hipnode.services.worker.reader` reads it, as the
worker does, and what it says is counted.
"""
