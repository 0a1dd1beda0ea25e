"""Checks of settings that several transformers have."""


def check_bound(bound: float) -> None:
    """Raise unless the half-width of an interval is positive.

    Raises:
        ValueError: it is not.
    """
    if not bound > 0:
        raise ValueError(f"bound is {bound}; expected a positive number")


def check_min_slope(min_slope: float) -> None:
    """Raise unless the smallest slope lies below that of the identity.

    Raises:
        ValueError: it does not.
    """
    if not 0 < min_slope < 1:
        raise ValueError(f"min_slope is {min_slope}; expected a number in (0, 1)")
