"""Every error that the platform raises on purpose.

EtlError                      exit code 1, one line that says what to do
├── UsageError                exit code 2: an argument, a setting or a key is wrong or missing
├── WireError                 bytes that are not the message they claim to be
├── VenueError                the venue refused us: authentication, entitlement, limit, ban
│   └── OutOfReach            its history does not go back so far any more
├── TransportError            the broker cannot take or give messages
├── StoreError                a store cannot be written or read
│   ├── StoreUnavailable      it is down: stop consuming, try again
│   └── StoreRejected         it refused the data itself: bisect and quarantine
├── RangeLost                 offsets that were to be read are gone from the topic
└── PartError                 a supervised part cannot start: port taken, runtime missing
"""


class EtlError(Exception):
    """Base of all; its text is one line for the operator."""

    exit_code = 1


class UsageError(EtlError):
    exit_code = 2


class WireError(EtlError):
    pass


class VenueError(EtlError):
    pass


class OutOfReach(VenueError):
    pass


class TransportError(EtlError):
    pass


class MembershipLost(TransportError):
    """The broker no longer takes this consumer for a member of its group; a new one may join in its place."""


class StoreError(EtlError):
    pass


class StoreUnavailable(StoreError):
    pass


class StoreRejected(StoreError):
    pass


class RangeLost(EtlError):
    pass


class PartError(EtlError):
    pass
