"""The graphs of each family, a file each, behind the protocol of `base`."""
