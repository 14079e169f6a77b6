"""Medical records: what was said in a note, about whom, and whether it was denied."""
