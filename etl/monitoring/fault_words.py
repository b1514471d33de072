"""What an operator is told of a venue's fault, by its kind: the cause, and what to do. Pure."""

from __future__ import annotations

from etl.adapter.contract import FaultKind

OTHER_FAULT = (
    "the venue says so itself; trying again changes nothing",
    "Read the worker's log for the venue's own words. The worker tries again in minutes, not seconds.",
)
FAULT_WORDS = {
    FaultKind.AUTHENTICATION.value: (
        "the key is wrong, expired or revoked",
        "Check the venue's key in the environment of the worker, and restart the worker with the right one.",
    ),
    FaultKind.ENTITLEMENT.value: (
        "the plan does not include what is subscribed to",
        "Take the channel out of the subscription, or extend the plan.",
    ),
    FaultKind.UNANSWERED.value: (
        "a stream was asked for, and the venue has neither granted nor refused it: it stays mute",
        "The worker's log names the streams: look for them at the venue (renamed, delisted, not in the plan), and take "
        "them out of the subscription or restart the worker.",
    ),
    FaultKind.BANNED.value: (
        "too many requests: the venue has shut out this address for a time",
        "Wait; asking on lengthens the ban. Look at who else uses this address or key.",
    ),
    FaultKind.CONNECTION_LIMIT.value: (
        "another session uses the same key",
        "End the other session; the worker connects by itself then.",
    ),
}
