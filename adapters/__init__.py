"""Formats of the outside world, one module each, rows in and out. Each talks to a hub through `broker.client`."""
