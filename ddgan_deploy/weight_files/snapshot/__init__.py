"""Plain pickles of whole networks, as the published training codes write them: read as inert data."""
