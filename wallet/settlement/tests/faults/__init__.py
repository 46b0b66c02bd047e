"""Whatever breaks, each payout is paid once and the books equal the chain.

Real worker processes settle against anvil, behind a line that loses what it is told to lose; they
are killed with SIGKILL at named points, and anywhere. After each case `books` compares every book
with every other.
"""
