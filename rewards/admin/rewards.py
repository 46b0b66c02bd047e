"""What gamers may claim and have claimed; an operator grants from the gamer's page."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminSplitDateTime
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from accounts.models import Gamer
from kgen.common.admin import (
    OPERATORS,
    SUPPORT,
    Act,
    Done,
    ReadOnlyAdmin,
    ReasonForm,
    Table,
    act,
    badge,
    kcash,
    kcash_column,
    link,
    link_column,
    minute_column,
    moment,
    moment_column,
    panel,
)
from kgen.common.money import LARGEST_AMOUNT_IN_JSON
from rewards import granting
from rewards.models import Reward
from wallet import timeline

NEWEST: Final = 20


@admin.register(Reward)
class RewardAdmin(ReadOnlyAdmin[Reward]):
    roles = {OPERATORS: ("view",), SUPPORT: ("view",)}
    list_display = ["how_much", "whose", "of_game", "what_for", "claimed_or_not", "since", "until"]
    list_select_related = ["gamer", "game"]
    list_filter = ["status", "source"]
    search_fields = [
        "uid__exact",
        "reference__exact",
        "tournament_uid__exact",
        "gamer__gamer_id__exact",
    ]
    search_help_text = "Reward id, reference, tournament id or gamer id"
    ordering = ["-id"]
    sortable_by = ()
    readonly_fields = [
        "how_much",
        "whose",
        "of_game",
        "what_for",
        "claimed_or_not",
        "granted",
        "claimed",
        "expires",
        "source",
        "reference",
        "tournament_uid",
        "uid",
    ]

    how_much = kcash_column("amount", "reward")
    whose = link_column("gamer")
    of_game = link_column("game")
    granted = moment_column("created_at", "granted")
    claimed = moment_column("claimed_at", "claimed")
    expires = moment_column("expires_at", "expires")
    since = minute_column("created_at", "granted")
    until = minute_column("claimed_at", "claimed")

    @admin.display(description="for")
    def what_for(self, reward: Reward) -> str:
        return what_for(reward)

    @admin.display(description="state")
    def claimed_or_not(self, reward: Reward) -> SafeString:
        return reward_badge(reward)


def what_for(reward: Reward) -> str:
    if reward.source == Reward.Source.TOURNAMENT:
        return f"Rank {reward.rank} in {reward.tournament_title}"
    return reward.reference


def reward_badge(reward: Reward) -> SafeString:
    if reward.status == Reward.Status.UNCLAIMED:
        return badge("to claim", busy=True)
    if reward.status == Reward.Status.EXPIRED:
        return badge("expired")
    return badge("claimed", good=True)


@panel(Gamer, "Rewards", order=30)
def rewards_of_gamer(request: HttpRequest, gamer: Gamer) -> Table:
    every = reverse("admin:rewards_reward_changelist")
    return Table(
        columns=["Reward", "For", "State", "Granted", "Claimed"],
        rows=[
            (
                link(reward, kcash(reward.amount)),
                what_for(reward),
                reward_badge(reward),
                moment(reward.created_at),
                moment(reward.claimed_at),
            )
            for reward in gamer.rewards.order_by("-id")[:NEWEST]
        ],
        empty="None yet: prizes come with a settled tournament, or an operator grants one.",
        links=[(f"{every}?{urlencode({'gamer__id__exact': gamer.pk})}", "All rewards")],
    )


@timeline.names_promises
def names_of_promises(gamer_id: int, promises: Sequence[timeline.Promise]) -> dict[UUID, str]:
    """A grant's and an expiry's posting is one reward's own; a pool's is that of all its winners."""
    posting_ids = [one.posting_id for one in promises]
    rewards = Reward.objects.filter(
        Q(grant_posting_id__in=posting_ids)
        | Q(expiry_posting_id__in=posting_ids)
        | Q(tournament_uid__in=[one.tournament_uid for one in promises if one.tournament_uid]),
        gamer=gamer_id,
    )
    names = {
        key: f"rank {reward.rank} in {reward.tournament_title}" if reward.rank else reward.reference
        for reward in rewards
        for key in (reward.tournament_uid or reward.grant_posting_id, reward.expiry_posting_id)
    }
    keys = {one.posting_id: one.tournament_uid or one.posting_id for one in promises}
    return {posting_id: names[key] for posting_id, key in keys.items() if key in names}


# What staff may grant; a tournament's prizes come from its settlement alone.
SOURCES: Final = [
    (source.value, source.label)
    for source in Reward.Source
    if source is not Reward.Source.TOURNAMENT
]


class GrantForm(ReasonForm):
    source = forms.ChoiceField(choices=SOURCES, initial=Reward.Source.PROMOTION)
    amount = forms.IntegerField(
        min_value=1, max_value=LARGEST_AMOUNT_IN_JSON, help_text="KCash, whole units."
    )
    reference = forms.CharField(
        max_length=128,
        help_text="Names this one reward, for example a ticket and the gamer: "
        "a game never pays the same reference twice.",
    )
    expires_at = forms.SplitDateTimeField(
        required=False,
        label="Expires (UTC)",
        widget=AdminSplitDateTime,
        help_text="Not claimed by then, it goes back to the treasury. Empty: never.",
    )
    field_order = ["amount", "source", "reference", "expires_at", "reason"]


@act(Gamer)
class GrantReward(Act[Gamer]):
    name, label, roles = "grant_reward", "Grant a reward", (OPERATORS,)
    form_class = GrantForm

    def consequences(self, gamer: Gamer) -> list[str]:
        return [
            f"{gamer} of {gamer.game} finds the reward among those to claim, and may claim it.",
            "The KCash is set aside from the treasury at once.",
        ]

    def perform(self, request: HttpRequest, gamer: Gamer, data: dict[str, Any]) -> Done:
        source, reference = Reward.Source(data["source"]), data["reference"]
        granted = Reward.objects.filter(game=gamer.game_id, source=source, reference=reference)
        # Granting the same again is no mistake for a program; a person wants to be told.
        if granted.exists():
            raise granting.ReferenceTaken
        reward = granting.grant(
            gamer=gamer,
            amount=data["amount"],
            source=source,
            reference=reference,
            expires_at=data["expires_at"],
            now=timezone.now(),
        )
        return Done(f"Granted: {reward.amount:,} KCash, for {gamer} to claim.")
