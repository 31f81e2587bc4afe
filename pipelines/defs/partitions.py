"""Partitions of the aggregates: days in UTC.

Time zones are for display. With daylight saving a local day has 23 or 25 hours and an hour that comes twice.
"""

import dagster as dg

from pipelines.maintenance.aggregation import FIRST_DAY

activity_days = dg.DailyPartitionsDefinition(
    start_date=FIRST_DAY.isoformat(),
    timezone="UTC",
    end_offset=1,  # today can be aggregated before it is over
)
