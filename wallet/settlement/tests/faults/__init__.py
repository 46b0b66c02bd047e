"""Whatever breaks, each payout is paid once and the books equal the chain.

Real worker processes settle against anvil, behind a line that loses what it is told to lose; they
are killed with SIGKILL at named points, and anywhere. After each case `books` compares every book
with every other.

 T1  kill -9 at every point, single and at random  test_kills, test_chaos
 T2  a message several times, several workers      test_side_by_side
 T3  records lost, with and without the nonce      test_lost_records
 T4  reorgs; past finality                         test_reorgs; wallet/tests/test_reorgs
 T5  fees                                          test_fees
 T6  lost, refused, slow and stale answers         test_bad_lines, test_two_nodes, test_chaos
 T7  poison, reverts, pause, caps, gas             test_items
 T8  a foreign nonce                               test_strangers, test_chaos
 T9  voids                                         test_voids, test_chaos
T10  the same request at once                      test_same_request
T11  items of one batch, permits, signatures, ids  test_items
T12  another chain or contract                     test_two_nodes
T13  contract rotation                             wallet/tests/test_settlement_rotating
T14  limits and approvals passed by                wallet/tests/test_limit_bypasses
T15  any schedule of it all                        test_schedules, test_chaos
T16  the naive loop is caught                      test_control
"""
