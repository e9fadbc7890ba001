"""What an archive holds from before: found by C-FIND, fetched by C-MOVE or C-GET."""
