"""Rows of speed: fastkd against its peers and against the limits of the machine."""
