import pytest
from django.db import DatabaseError, InterfaceError, connection, transaction

from kgen.common.prepared import Prepared

# A connection is closed here, which would end the transaction of an ordinary test.
pytestmark = pytest.mark.usefixtures("committed_database")

PRODUCT = Prepared(
    name="test_product", types=("integer", "numeric"), text="SELECT $1 * $2 || ' of ' || $1"
)


@pytest.fixture
def _pooled():
    connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = True
    yield
    del connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"]


def prepared_here() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_prepared_statements WHERE name LIKE 'test_%'")
        return [name for (name,) in cursor.fetchall()]


def test_statement_is_prepared_once_a_connection(django_assert_num_queries):
    connection.close()

    with django_assert_num_queries(3):
        answers = [PRODUCT.value(6, 7), PRODUCT.value(2, 3)]
        names = prepared_here()

    assert answers == ["42 of 6", "6 of 2"]
    assert names == ["test_product"]


def test_new_connection_prepares_anew():
    PRODUCT.value(1, 1)

    connection.close()

    assert PRODUCT.value(6, 7) == "42 of 6"
    assert prepared_here() == ["test_product"]


def test_prepared_in_a_transaction_that_is_undone_it_stays():
    connection.close()

    with transaction.atomic():
        PRODUCT.value(1, 1)
        transaction.set_rollback(True)

    assert PRODUCT.value(6, 7) == "42 of 6"


def test_refusal_of_the_statement_is_a_database_error_as_django_has_it():
    broken = Prepared(name="test_broken", types=("integer",), text="SELECT nothing($1)")

    with pytest.raises(DatabaseError, match="nothing"), transaction.atomic():
        broken.value(1)


def test_connection_that_broke_is_an_interface_error_as_django_has_it():
    PRODUCT.value(1, 1)
    connection.connection.close()

    with pytest.raises(InterfaceError):
        PRODUCT.value(6, 7)


def test_transaction_that_is_lost_takes_no_more_statements():
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(transaction.TransactionManagementError):
            PRODUCT.value(6, 7)


@pytest.mark.usefixtures("_pooled")
def test_behind_a_pooler_nothing_is_prepared():
    connection.close()

    assert PRODUCT.value(6, 7) == "42 of 6"
    assert prepared_here() == []
