"""Where a worker can be killed: the points between what it stores and what it sends."""

from enum import StrEnum


class Point(StrEnum):
    DURING_BUILD = "during build"
    BEFORE_SIGNING = "before signing"
    AFTER_BUILD = "after build, before send"
    AFTER_SEND = "after send, before stamp"
    REPLY_LOST = "reply lost"
    BUMP_STORED = "bump stored, not sent"
    BEFORE_FINISH = "before finish"
    INSIDE_FINISH = "inside finish"
    AFTER_FINISH = "after finish"
