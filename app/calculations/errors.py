"""The one exception for input that means nothing."""


class InvalidInput(ValueError):
    """An input that no estimate can be made from.

    `field` is the input's declared name, `message` names the value and says what is wrong with it,
    `allowed` says what would be accepted. Every front end shows the three beside the field.
    """

    def __init__(self, field: str, message: str, allowed: str = "") -> None:
        super().__init__(f"{field}: {message}" + (f" Allowed: {allowed}." if allowed else ""))
        self.field = field
        self.message = message
        self.allowed = allowed

    def as_dict(self) -> dict[str, str]:
        return {"field": self.field, "message": self.message, "allowed": self.allowed}
