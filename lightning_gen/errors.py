"""The one error that users are meant to see."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something a user can fix: one line that names the key, the value and the fix.

    The command line prints it without a traceback and exits with status 2.
    """


@contextmanager
def named_failure(what: str) -> Iterator[None]:
    """Within it any error, of code that is not ours, becomes a UserError of one line that begins with `what`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or f"in {traceback.extract_tb(error.__traceback__)[-1].name}()"
        where = "LIGHTNING_GEN_TRACEBACK=1 shows where"
        raise UserError(f"{what} fails when it is tried: {type(error).__name__}: {reason}; {where}") from error


def missing_package(origin: str, package: str | None, extra: str, otherwise: str = "") -> UserError:
    """The error of `origin`, such as `data=mnist5k`, which needs a package of an extra of lightning-gen.

    `otherwise` is another fix, such as `extractor=none`.
    """
    fix = f"pip install 'lightning-gen[{extra}]'" + (f", or {otherwise}" if otherwise else "")
    return UserError(f"{origin}: the package {package} is missing: {fix}")
