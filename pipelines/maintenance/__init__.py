"""Keeping the warehouse in order: aggregation, Dagster and dbt at work, checks. No Dagster in here."""
