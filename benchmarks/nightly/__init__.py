"""What a night costs as history grows, beside exact ways of computing the same, and through Dagster."""
