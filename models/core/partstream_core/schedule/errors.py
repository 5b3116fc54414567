"""The error raised for invalid settings of a schedule."""


class ScheduleError(ValueError):
    """A setting of a schedule is out of range; `field` is its path."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field
        self.message = message
