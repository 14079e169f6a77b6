"""Every decision on record: masked, off the hot path, with its labels, its erasure and its end of retention."""
