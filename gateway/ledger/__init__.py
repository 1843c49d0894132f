"""The ledger: reserve before, settle after. With SQL away nothing is reserved; what runs settles once SQL is back."""
