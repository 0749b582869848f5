"""As many images as are wanted, in shards: on this machine, or on many."""
