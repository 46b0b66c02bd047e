from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from accounts.tests.factories import GameFactory
from accounts.tests.staff import staff_client
from kgen.common.admin import OPERATORS, SUPPORT
from kgen.common.models import StaffAct
from rewards import expiring, tasks
from rewards.models import BulkGrant, Reward
from rewards.tests.factories import winner
from rewards.tests.test_bulk import claimable, counts, crowd, file_of, upload

pytestmark = pytest.mark.django_db

ADD = "/admin/rewards/bulkgrant/add/"
LIST = "/admin/rewards/bulkgrant/"


def page(bulk_grant):
    return reverse("admin:rewards_bulkgrant_change", args=[bulk_grant.pk])


def confirm_page(bulk_grant):
    return reverse("admin:rewards_bulkgrant_confirm", args=[bulk_grant.pk])


def send(client, game, content, changed=()):
    fields = {"game": game.pk, "source": "ACHIEVEMENT", "reason": "spring"} | dict(changed)
    return client.post(ADD, {**fields, "file": SimpleUploadedFile("spring.csv", content)})


def panels(response):
    return {
        title: [[str(cell) for cell in row] for row in table.rows]
        for title, table in response.context["panels"]
    }


def run_sweep():
    tasks.carry_out_bulk_grants()


def test_a_file_is_looked_at_then_granted_and_both_are_written_down():
    operator, (game, (one, other)) = staff_client(OPERATORS), crowd(2)

    response = send(operator, game, file_of("g-0,1250,spring/0,", "g-1,50,spring/1,"))
    bulk_grant = BulkGrant.objects.get()
    looked = operator.get(response["Location"])

    assert response["Location"] == page(bulk_grant)
    assert panels(looked)["Rows"][0][:2] == ["2", "g-0"]
    assert [row[1:] for row in panels(looked)["What granting it does now"]] == [
        ["2", '<span class="number">1,300 KCash</span>'],
        ["0", '<span class="number">0 KCash</span>'],
        ["0", '<span class="number">0 KCash</span>'],
    ]
    assert bulk_grant.digest in looked.content.decode()
    assert Reward.objects.count() == 0

    operator.post(confirm_page(bulk_grant), {"reason": "as agreed"})
    run_sweep()
    run_sweep()

    bulk_grant.refresh_from_db()
    assert counts(bulk_grant) == ("DONE", 2, 0, 0)
    assert (claimable(one), claimable(other)) == (1250, 50)
    assert set(Reward.objects.values_list("source", flat=True)) == {"ACHIEVEMENT"}
    assert "2 of 2 rows: 2 granted, 0 granted before, 0 refused" in (
        operator.get(page(bulk_grant)).content.decode()
    )
    assert [entry.line() for entry in StaffAct.objects.order_by("pk")] == [
        "Made: spring",
        "Grant these rewards (skip refused False): as agreed",
    ]


def test_refused_rows_must_be_skipped_knowingly():
    operator, (game, (gamer,)) = staff_client(OPERATORS), crowd(1)
    send(operator, game, file_of("g-0,5,a,", "nobody,6,b,"))
    bulk_grant = BulkGrant.objects.get()

    refused = operator.post(confirm_page(bulk_grant), {"reason": "as agreed"})

    assert refused.context["form"].non_field_errors() == [
        "Nothing is granted: refused rows: 1 of 2. Mend the file, or have them skipped."
    ]
    run_sweep()
    assert claimable(gamer) == 0

    operator.post(confirm_page(bulk_grant), {"skip_refused": "on", "reason": "as agreed"})
    run_sweep()
    assert claimable(gamer) == 5


@pytest.mark.parametrize(
    ("content", "changed", "field"),
    [
        (b"gamer_id;amount;reference\n", {}, "file"),
        (b"x" * (1024 * 1024 + 1), {}, "file"),
        (b"", {}, "file"),
        (file_of("g-0,5,a,"), {"source": "TOURNAMENT"}, "source"),
        (file_of("g-0,5,a,"), {"reason": ""}, "reason"),
        (file_of("g-0,5,a,"), {"game": ""}, "game"),
    ],
)
def test_an_upload_that_makes_no_sense_is_refused(content, changed, field):
    operator, (game, _) = staff_client(OPERATORS), crowd(1)

    response = send(operator, game, content, changed)

    assert list(response.context["adminform"].form.errors) == [field]
    assert BulkGrant.objects.count() == 0


def test_support_sees_files_and_grants_nothing(now):
    support, (game, (gamer,)) = staff_client(SUPPORT), crowd(1)
    bulk_grant = upload(game, "g-0,5,a,", now=now)

    assert support.get(page(bulk_grant)).status_code == 200
    assert send(support, game, file_of("g-0,5,b,")).status_code == 403
    assert support.post(confirm_page(bulk_grant), {}).status_code == 403
    assert BulkGrant.objects.get().state == "CHECKED"
    assert claimable(gamer) == 0


def test_a_confirmed_file_is_not_confirmed_again(now):
    operator, (game, (gamer,)) = staff_client(OPERATORS), crowd(1)
    bulk_grant = upload(game, "g-0,5,a,", now=now)
    operator.post(confirm_page(bulk_grant), {"reason": "as agreed"})
    run_sweep()

    operator.post(confirm_page(bulk_grant), {"reason": "as agreed"})
    run_sweep()

    assert claimable(gamer) == 5
    assert StaffAct.objects.count() == 1


def test_rows_are_shown_by_what_becomes_of_them_and_page_by_page(now):
    operator, (game, _) = staff_client(OPERATORS), crowd(1)
    rows = [f"g-0,5,{number}," for number in range(101)]
    bulk_grant = upload(game, *rows, "nobody,5,x,", now=now)

    first, second, refused, none = (
        panels(operator.get(page(bulk_grant), query))["Rows"]
        for query in (
            {},
            {"show": "NEW", "since": "100"},
            {"show": "REFUSED"},
            {"show": "x", "since": "-1"},
        )
    )

    assert [row[0] for row in first] == [str(line) for line in range(2, 102)]
    assert [row[0] for row in second] == ["102"]
    assert [(row[0], row[6]) for row in refused] == [("103", "the game has no such gamer")]
    assert none == []


@pytest.mark.parametrize("files", [1, 3])
def test_list_costs_the_same_queries_whatever_its_length(now, files, django_assert_num_queries):
    support = staff_client(SUPPORT)
    for _ in range(files):
        upload(GameFactory.create(), "g-0,5,a,", now=now)

    with django_assert_num_queries(7):
        support.get(LIST)


def test_what_came_from_a_file_expires_like_any_other(now):
    operator, gamer = staff_client(OPERATORS), winner(gamer_id="g")
    soon = now + timedelta(minutes=1)
    send(operator, gamer.game, file_of(f"g,5,a,{soon:%Y-%m-%dT%H:%M:%SZ}"))
    operator.post(confirm_page(BulkGrant.objects.get()), {"reason": "as agreed"})
    run_sweep()
    assert claimable(gamer) == 5

    assert expiring.expire_due(now=soon) == 1
    assert claimable(gamer) == 0
