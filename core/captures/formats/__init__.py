"""One module per capture format; the table that lists them is in :mod:`core.captures.readers`."""
