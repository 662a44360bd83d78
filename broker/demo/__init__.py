"""The demonstration: a hub with a region of members, started as it would be in earnest, telling what happens."""
