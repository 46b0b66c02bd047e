"""How operators choose the way a tournament is scored and paid, wherever they choose it."""

import re
from typing import Any, Final

from django import forms
from django.http import HttpRequest

from kgen.common.admin import Table, kcash, panel
from kgen.common.money import LARGEST_AMOUNT_IN_JSON
from tournaments import lifecycle, prizes
from tournaments.models import Format, Tournament
from tournaments.prizes import Structure

RULES: Final = (
    "score_rule",
    "sort",
    "event_ceiling",
    "minute_ceiling",
    "prize_structure",
    "prize_table",
    "sponsor_contribution",
)

# Crowds for which the prizes are worked out before anybody has joined.
CROWDS: Final = (20, 100, 1000)
SHOWN_PRIZES: Final = 6

# A rank or two, and what each of them wins.
_ROW: Final = re.compile(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?\s*[:=]\s*(\d{1,12})(?:\.(\d{1,2}))?\s*%?")


class PrizeTableField(forms.CharField):
    """A line for each range of ranks; percent have up to two decimals, KCash none."""

    widget = forms.Textarea(attrs={"rows": 4, "placeholder": "1: 500\n2-3: 200\n4-10: 50"})

    def __init__(self) -> None:
        super().__init__(
            required=False,
            label="Prizes by rank",
            help_text=(
                "Of fixed prizes in KCash, of shares in percent of the pool for each rank; a line"
                " for each range, such as “1: 500” and “2-3: 200”. Bands need none."
            ),
        )


class FormatForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """The part of a form that says who may play, and how it is scored and paid."""

    entry_fee = forms.IntegerField(
        min_value=0,
        max_value=LARGEST_AMOUNT_IN_JSON,
        initial=10,
        help_text="KCash, whole units. With 0 it is free, and bands pay no prizes.",
    )
    tournament_size = forms.IntegerField(
        min_value=1,
        max_value=2**31 - 1,
        required=False,
        label="Seats",
        help_text="Empty: no limit.",
    )
    min_registration_start_limit = forms.IntegerField(
        min_value=1,
        max_value=2**31 - 1,
        initial=2,
        label="Fewest entrants",
        help_text="With fewer when it locks, it is cancelled and every entry fee given back.",
    )
    score_rule = forms.ChoiceField(
        label="Which score counts",
        choices=[
            ("LATEST", "the latest: games send a running total"),
            ("BEST", "the best of all that were sent"),
            ("SUM", "the sum of all that were sent"),
        ],
        initial="LATEST",
    )
    sort = forms.ChoiceField(
        label="Who wins",
        choices=[("HIGH", "the highest score"), ("LOW", "the lowest score")],
        initial="HIGH",
    )
    event_ceiling = forms.IntegerField(
        min_value=0,
        max_value=LARGEST_AMOUNT_IN_JSON,
        required=False,
        label="Ceiling of a score",
        help_text="A higher one is held back until you accept it. Empty: no ceiling.",
    )
    minute_ceiling = forms.IntegerField(
        min_value=0,
        max_value=LARGEST_AMOUNT_IN_JSON,
        required=False,
        label="Ceiling of a minute",
        help_text="A score that rises by more within a minute is held back. Empty: no ceiling.",
    )
    prize_structure = forms.ChoiceField(
        label="Prizes",
        choices=[
            ("BANDS", "bands: the best 40 % win 1 to 6 entry fees"),
            ("FIXED", "fixed, by rank: a sponsor pays them"),
            ("SHARES", "shares of the pool, by rank"),
        ],
        initial="BANDS",
    )
    prize_table = PrizeTableField()
    sponsor_contribution = forms.IntegerField(
        min_value=0,
        max_value=LARGEST_AMOUNT_IN_JSON,
        initial=0,
        label="Sponsor's contribution",
        help_text="KCash on top of the entry fees; no rake is taken of it.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["prize_table"] = table_text(self.instance)

    def clean_prize_table(self) -> list[dict[str, int]]:
        structure = self.cleaned_data.get("prize_structure", Structure.BANDS)
        lines = [line.strip() for line in self.cleaned_data["prize_table"].splitlines()]
        return [_row(line, is_share=structure == Structure.SHARES) for line in lines if line]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        seats, fewest = data.get("tournament_size"), data.get("min_registration_start_limit")
        if seats and fewest and seats < fewest:
            self.add_error("tournament_size", f"Fewer seats than the {fewest} entrants it needs.")
        if data.get("minute_ceiling") is not None and data.get("sort") == Tournament.Sort.LOW:
            self.add_error("minute_ceiling", lifecycle.RiseOfLowScores.message)
        if {"prize_structure", "prize_table", "entry_fee", "sponsor_contribution"} <= data.keys():
            self._refuse_unpayable(data)
        return data

    def _refuse_unpayable(self, data: dict[str, Any]) -> None:
        structure = Structure(data["prize_structure"])
        try:
            prizes.refuse_unpayable(
                prizes.Terms(
                    entry_fee=data["entry_fee"],
                    rake_percent=0,
                    structure=structure,
                    table=prizes.table_of(structure, data["prize_table"]),
                    sponsored=data["sponsor_contribution"],
                )
            )
        except prizes.PrizeTableWrong as refusal:
            self.add_error("prize_table", f"{refusal.details['reason']}")


def table_text(pattern: Format) -> str:
    """The table as it is typed in."""
    is_share = pattern.prize_structure == Structure.SHARES
    return "\n".join(
        f"{_ranks(row)}: {row['amount'] / 100:g}" if is_share else f"{_ranks(row)}: {row['amount']}"
        for row in pattern.prize_table
    )


def _ranks(row: dict[str, int]) -> str:
    return f"{row['first']}" if row["first"] == row["last"] else f"{row['first']}-{row['last']}"


def _row(line: str, *, is_share: bool) -> dict[str, int]:
    found = _ROW.fullmatch(line)
    if found is None:
        raise forms.ValidationError(f"“{line}” is not such as “1: 500” or “2-3: 200”.")
    first, last, whole, decimals = found.groups()
    if decimals and not is_share:
        raise forms.ValidationError(f"“{line}”: KCash has no decimals.")
    amount = int(whole) * 100 + int((decimals or "0").ljust(2, "0")) if is_share else int(whole)
    return {"first": int(first), "last": int(last or first), "amount": amount}


@panel(Tournament, "Prizes if all earn", order=5)
def prizes_by_crowd(request: HttpRequest, tournament: Tournament) -> Table:
    """What different crowds would win; once it is settled, its own page says what they won."""
    is_open = tournament.phase not in {Tournament.Phase.COMPLETED, Tournament.Phase.CANCELLED}
    terms = lifecycle.terms_of(tournament)
    size = tournament.tournament_size
    crowds = [crowd for crowd in CROWDS if size is None or crowd <= size] or [size or 0]
    return Table(
        columns=["Entrants", "Pool", "Winners", "Prizes", "Left over", "Rake"],
        rows=[_previewed(crowd, terms) for crowd in crowds] if is_open else [],
        empty="It is over.",
    )


def _previewed(entrants: int, terms: prizes.Terms) -> tuple[object, ...]:
    split = prizes.preview(terms, entrants=entrants)
    return (
        f"{entrants:,}",
        kcash(split.pool),
        f"{len(split.prizes):,}",
        _in_ranges(split.prizes) or "-",
        kcash(split.remainder),
        kcash(split.platform_rake + split.developer_rake),
    )


def _in_ranges(won: tuple[int, ...]) -> str:
    """“1: 60 · 2-11: 40 · 12-31: 15”, as far as there is room for it."""
    ranges: list[list[int]] = []
    for rank, prize in enumerate(won, start=1):
        if ranges and ranges[-1][2] == prize:
            ranges[-1][1] = rank
        else:
            ranges.append([rank, rank, prize])
    shown = [
        f"{first if first == last else f'{first}-{last}'}: {prize:,}"
        for first, last, prize in ranges[:SHOWN_PRIZES]
    ]
    return " · ".join(shown) + (" …" if len(ranges) > SHOWN_PRIZES else "")
