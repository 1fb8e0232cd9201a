"""The one exception that is meant for a person's eyes."""


class EdgeposeError(Exception):
    """A user's mistake (wrong path, wrong file, missing device), told in one sentence that says what to do.

    Command lines print it and exit with status 2; it never needs a traceback.
    """
