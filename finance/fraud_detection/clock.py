"""Units of time, all in milliseconds."""

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
NEVER = 2**62
"""The time of what does not come, such as the label that nobody knows."""
