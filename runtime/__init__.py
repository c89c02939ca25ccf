"""The thin Python runtime of penstock: it describes models as plans, and the C++ engine replays them."""
