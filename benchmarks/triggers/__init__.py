"""What it costs that the statistics of a run follow its iterations, whoever writes them."""
