"""Partitions of the aggregates: days in UTC.

Time zones are for display. With daylight saving a local day has 23 or 25 hours and an hour that comes twice.
"""

import dagster as dg

FIRST_DAY = "2025-01-01"
"""Coding agents began to write these logs in early 2025; days before have no facts to aggregate."""

activity_days = dg.DailyPartitionsDefinition(
    start_date=FIRST_DAY,
    timezone="UTC",
    end_offset=1,  # today can be aggregated before it is over
)
