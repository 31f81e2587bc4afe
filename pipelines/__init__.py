"""tracemill: logs of LLM agents, landed once in PostgreSQL, and the marts built on them."""

__version__ = "0.1.0"
