"""A crash test of the whole gateway as a black box: ``python -m tests.torture --help``.

Charge points and a central system that keep exact books stand on either side of a gateway that is killed, cut
off and filled up; then the books are compared.
"""
