"""Database errors as one sentence: what is wrong, where, what to do. Never with a password in it."""


def describe_error(error: BaseException) -> str:
    """One sentence for the user."""
    return str(error)
