"""Models as plans: each module writes one network's ops."""
