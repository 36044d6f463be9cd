"""The one error that users are meant to see."""


class UserError(Exception):
    """Something a user can fix: one line that names the key, the value and the fix.

    The command line prints it without a traceback and exits with status 2.
    """
