"""Who may do what: the roles of tokens, and of people in the life of an event."""

from enum import StrEnum


class Role(StrEnum):
    """What a token is for."""

    OPERATOR = "operator"
    APPROVER = "approver"
    AGGREGATOR = "aggregator"
    ENGINEER = "engineer"
    AUDITOR = "auditor"
    ADMIN = "admin"
